// Tries an operation of the API out, as whoever is signed in, and shows what was answered.
"use strict";
(() => {
  const send = async (form) => {
    const said = form.querySelector(".said");
    const shown = form.querySelector(".answer");
    const query = new URLSearchParams();
    const headers = { Accept: "application/json", "X-CSRF-Token": form.dataset.token };
    let path = form.dataset.path;
    for (const input of form.querySelectorAll("input[data-where]")) {
      const { where } = input.dataset;
      if (where === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (input.value && where === "query") query.set(input.name, input.value);
      else if (input.value && where === "header") headers[input.name] = input.name === "If-Match" && input.value !== "*" ? `"${input.value}"` : input.value;
    }
    said.classList.remove("failed");
    if (/\/(\/|$)/.test(path)) {
      said.classList.add("failed");
      said.textContent = form.dataset.missing;
      return;
    }
    const options = { method: form.dataset.method, headers };
    const body = form.querySelector("textarea");
    if (body) {
      options.body = body.value;
      headers["Content-Type"] = "application/json";
    }
    const began = performance.now();
    try {
      const answer = await fetch(query.size ? `${path}?${query}` : path, options);
      const text = await answer.text();
      let pretty = text;
      try {
        pretty = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        // no JSON: as it is
      }
      said.classList.toggle("failed", !answer.ok);
      said.textContent = `${answer.status} ${answer.statusText} – ${Math.round(performance.now() - began)} ms`;
      shown.textContent = pretty;
      shown.hidden = !pretty;
    } catch {
      said.classList.add("failed");
      said.textContent = form.dataset.failed;
    }
  };
  for (const form of document.querySelectorAll("form.try")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      send(form).finally(() => { button.disabled = false; });
    });
  }
  // A link to one operation opens it.
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted) wanted.open = true;
})();

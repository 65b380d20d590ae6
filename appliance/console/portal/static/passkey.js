// Passkeys: ask the server what to ask the authenticator, ask it, send back what it said. Without WebAuthn the forms stay hidden.
"use strict";
(() => {
  const able = window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON;
  const token = document.querySelector("input[name=csrf_token]")?.value || "";
  const ask = async (url, data) => {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": token };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(data) });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };
  const prove = async (form) => {
    const begun = await ask(form.dataset.options, {});
    const options = JSON.parse(begun.options);
    const adding = form.dataset.adding !== undefined;
    const credential = adding
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    const name = form.querySelector("input[name=name]")?.value || "";
    const sent = { ceremony: begun.ceremony, response: JSON.stringify(credential.toJSON()), next: form.dataset.next || "", name };
    const done = await ask(form.dataset.answer, sent);
    location.assign(done.next);
  };
  for (const form of document.querySelectorAll("form.passkey")) {
    if (!able) continue;
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const problem = form.querySelector(".problem");
      const button = form.querySelector("button");
      problem.textContent = "";
      button.disabled = true;
      prove(form).catch(() => { problem.textContent = form.dataset.failed; }).finally(() => { button.disabled = false; });
    });
  }
})();

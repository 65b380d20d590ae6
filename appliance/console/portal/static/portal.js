// What the pages say when a round trip in place fails: the form stays as it is, and the reader is told.
"use strict";
(() => {
  const said = () => document.getElementById("said");
  const failed = (text) => {
    const place = said();
    if (!place) return;
    place.classList.add("failed");
    place.textContent = text;
  };
  document.addEventListener("htmx:responseError", (event) => {
    const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const heading = answer.querySelector("h1");
    failed(heading ? heading.textContent : `${event.detail.xhr.status} ${event.detail.xhr.statusText}`);
  });
  document.addEventListener("htmx:sendError", () => failed(said()?.dataset.failed || ""));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful && said()) said().classList.remove("failed");
  });
})();

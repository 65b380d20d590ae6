// A button that prints the page. Without scripts it isn't there: the browser can print by itself.
"use strict";
for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

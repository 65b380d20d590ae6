// The one-time link's token stands behind the #, which is sent to no server: put it into the form, and out of the address.
"use strict";
(() => {
  const token = document.getElementById("token");
  const found = location.hash.slice(1);
  if (!token || !found) return;
  token.value = found;
  token.closest(".field").hidden = true;
  history.replaceState(null, "", location.pathname);
  document.getElementById("password").focus();
})();

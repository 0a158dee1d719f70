// Remembers light or dark. Loaded before the page is drawn, so that it does not flash; without it the system decides.
(function () {
  "use strict";
  var root = document.documentElement;
  var kept = null;
  try { kept = localStorage.getItem("theme"); } catch (error) { /* storage may be forbidden: the system's theme stays */ }
  if (kept === "light" || kept === "dark") { root.dataset.theme = kept; }
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    if (!button) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* kept for this page only */ }
    });
    var language = document.getElementById("language");
    if (language) {
      language.addEventListener("change", function () { language.form.submit(); });
      document.getElementById("language-go").hidden = true;
    }
  });
})();

// Shows what a form would do while it is filled in: asks the form's data-live address and puts the answer into the
// element named by data-live-into. Without scripts the form has a button that does the same.
(function () {
  "use strict";
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("form[data-live]").forEach(function (form) {
      var target = document.getElementById(form.dataset.liveInto);
      var waiting = null;
      var asked = 0;
      function ask() {
        var mine = asked += 1;
        var fields = new FormData(form);
        fields.delete("csrfmiddlewaretoken");
        fetch(form.dataset.live + "?" + new URLSearchParams(fields), { headers: { Accept: "text/html" } })
          .then(function (answer) { return answer.ok ? answer.text() : null; })
          .then(function (text) { if (text !== null && mine === asked) { target.innerHTML = text; } })
          .catch(function () { /* the last answer stays; saving checks again */ });
      }
      form.addEventListener("input", function () {
        clearTimeout(waiting);
        waiting = setTimeout(ask, 300);
      });
      // Something may have been written before this script was there, or come back with the browser's back button.
      if (Array.from(form.elements).some(function (field) {
        return field.type !== "hidden" && field.defaultValue !== undefined && field.value !== field.defaultValue;
      })) { ask(); }
    });
  });
})();

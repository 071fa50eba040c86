"use strict";
// Copying and filtering. Without this script the page shows the same; digests and snippets can be selected.
(() => {
  const said = document.getElementById("said");

  // A region that is told the same words twice in a row is not read out again.
  const say = (text) => {
    said.textContent = "";
    requestAnimationFrame(() => { said.textContent = text; });
  };

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  // The clipboard is closed to a page that is not served by https, and may be to one opened from a disk.
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      select(element);
      return document.execCommand("copy");
    }
  };

  const onCopy = async (button) => {
    const done = await copy(document.getElementById(button.dataset.copy));
    const label = button.firstChild;
    label.data = done ? "Copied" : "Selected";
    say(done ? `Copied ${button.dataset.what}` : `Selected ${button.dataset.what}: copy it with Ctrl+C`);
    setTimeout(() => { label.data = "Copy"; }, 2500);
  };

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => onCopy(button));
  }

  const field = document.getElementById("filter");
  if (!field) return;
  const count = document.getElementById("count");
  const all = count.textContent;
  const releases = [...document.querySelectorAll("tbody.release")].map(
    (rows) => ({ rows, text: rows.textContent.toLowerCase() }),
  );

  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { rows, text } of releases) {
      rows.hidden = !words.every((word) => text.includes(word));
      shown += rows.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${all}` + (shown ? "" : ": none has all of these words") : all;
  };

  document.querySelector("form.filter").hidden = false;
  field.addEventListener("input", filter);
  field.form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { field.value = ""; filter(); }
  });
  filter(); // a browser that goes back to this page remembers what was typed
})();

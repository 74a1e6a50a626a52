
"use strict";
// A click on the head of a column sorts the rows by it, a second one the other way round.
const words = new Intl.Collator(undefined, { numeric: true });
const number = (text) => {
  const found = text.match(/^(± )?(-?)(inf|[\d.]+(e[-+]?\d+)?)/);
  return found ? Number(found[2] + found[3].replace("inf", "Infinity")) : NaN;
};

function sort(table, head, column) {
  const down = head.getAttribute("aria-sort") !== "descending";
  const keyed = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent, row]);
  const name = head.classList.contains("name");
  const whole = name && keyed.every(([text]) => /^-?\d+$/.test(text));
  const compare = name && !whole ? words.compare : (a, b) => number(a) - number(b);
  const last = (text) => !name && Number.isNaN(number(text)); // whichever way
  keyed.sort(([a], [b]) => last(a) - last(b) || (down ? compare(b, a) : compare(a, b)) || 0);
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

"use strict";
// Sorts a table by the column whose heading is pressed: first from the greatest number or the first letter, then back.
// Cells without a value come last either way.

const words = new Intl.Collator("en", { numeric: true });

const valueOf = (row, column) => {
  const cell = row.cells[column];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
};

const compare = (one, other) => (typeof one === "number" ? (one > other) - (one < other) : words.compare(one, other));

const sort = (heading) => {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
  const numeric = rows.some(([value]) => typeof value === "number");
  const before = heading.getAttribute("aria-sort");
  const first = numeric && heading.textContent !== "#" ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const known = rows.filter(([value]) => value !== null).sort(([one], [other]) => sign * compare(one, other));
  const unknown = rows.filter(([value]) => value === null);
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", order);
  table.tBodies[0].append(...[...known, ...unknown].map(([, row]) => row));
};

for (const heading of document.querySelectorAll("table.sortable th[aria-sort]")) {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
}

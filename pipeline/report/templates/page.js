"use strict";
// Sort a table by a column: a click on its heading, a second click turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("thead th")];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
      rows.sort(([first], [second]) => compare(first, second, ascending));
      rows.forEach(([, row]) => body.append(row));
    });
  });
}

function keyOf(cell) {
  if (!("value" in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

// Rows without a value stay at the end in both orders.
function compare(first, second, ascending) {
  if (first === null || second === null) return (first === null) - (second === null);
  const order = typeof first === "number" ? first - second : first.localeCompare(second, "en", { numeric: true });
  return ascending ? order : -order;
}

// Paper has nothing to click: print what is folded away, and fold it again.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));

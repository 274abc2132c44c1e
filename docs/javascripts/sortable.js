// Tables inside a "sortable" block are sorted by the column whose heading is clicked.
document$.subscribe(() => {
  for (const table of document.querySelectorAll(".sortable table")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.tabIndex = 0;
      heading.setAttribute("role", "columnheader");
      const sort = () => {
        const down = heading.getAttribute("aria-sort") !== "descending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].textContent.trim();
        const number = (text) => parseFloat(text.replace(/,/g, ""));
        const order = (a, b) => {
          const [x, y] = [number(key(a)), number(key(b))];
          if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || key(a).localeCompare(key(b));
          return down ? y - x : x - y;
        };
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
      };
      heading.addEventListener("click", sort);
      heading.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
  }
});

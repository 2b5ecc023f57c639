/**
 * The page's script, for comfort only: without it everything can be read, marks show their `<title>` and tables keep their
 * order. It asks nothing of the network and keeps nothing.
 *
 * - Theme: the button goes round automatic, light and dark.
 * - Marks: their titles become tooltips on hover and focus. A plot is one stop of the tab key; arrows go from mark to mark.
 * - Tables: headers become buttons that sort, by `data-v` where a cell has it.
 */
export const PAGE_SCRIPT = `"use strict";
(() => {
  const root = document.documentElement;
  const button = document.querySelector(".theme");
  const themes = ["automatic", "light", "dark"];
  let theme = 0;
  button.hidden = false;
  const name = () => { button.textContent = "Theme: " + themes[theme]; };
  button.addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    if (theme === 0) delete root.dataset.theme;
    else root.dataset.theme = themes[theme];
    name();
  });
  name();

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const show = (mark) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    tip.style.left = Math.max(8, Math.min(left, root.clientWidth - tip.offsetWidth - 8)) + "px";
    const above = box.top - tip.offsetHeight - 8;
    tip.style.top = (above < 8 ? box.bottom + 8 : above) + "px";
  };
  const hide = () => { tip.hidden = true; };
  const markOf = (event) => event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const mark = markOf(event);
      if (mark) show(mark);
      else hide();
    });
  }
  addEventListener("scroll", () => {
    const focused = document.activeElement.closest("[data-tip]");
    if (focused && !tip.hidden) show(focused);
    else hide();
  }, { passive: true, capture: true });

  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const marks = [...svg.querySelectorAll("title")].map((title) => {
      const mark = title.parentNode;
      mark.dataset.tip = title.textContent;
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", title.textContent);
      mark.setAttribute("tabindex", "-1");
      title.remove();
      return mark;
    });
    if (marks.length === 0) continue;
    svg.setAttribute("role", "group");
    for (const part of svg.children) {
      if (!part.matches("[data-tip]") && !part.querySelector("[data-tip]")) part.setAttribute("aria-hidden", "true");
    }
    marks[0].setAttribute("tabindex", "0");
    let at = 0;
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -marks.length, End: marks.length };
      const step = steps[event.key];
      if (step === undefined) return;
      event.preventDefault();
      marks[at].setAttribute("tabindex", "-1");
      at = Math.max(0, Math.min(marks.length - 1, at + step));
      marks[at].setAttribute("tabindex", "0");
      marks[at].focus();
    });
    svg.addEventListener("focusin", (event) => { at = Math.max(0, marks.indexOf(markOf(event))); });
  }

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    if (body.rows.length < 3) continue;
    for (const header of table.tHead.rows[0].cells) {
      const sort = document.createElement("button");
      sort.type = "button";
      sort.append(...header.childNodes);
      header.append(sort);
      sort.addEventListener("click", () => {
        const descending = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", descending < 0 ? "descending" : "ascending");
        const column = header.cellIndex;
        body.append(...[...body.rows].sort((a, b) => descending * compare(keyOf(a, column), keyOf(b, column))));
      });
    }
  }
})();
`;

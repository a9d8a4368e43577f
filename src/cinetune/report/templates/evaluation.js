(() => {
  // Hundreds of videos would make the page slow to open, so a metric's views are made when it is chosen.
  const select = document.getElementById("metric");
  const views = [...document.querySelectorAll(".view, .later")];
  select.addEventListener("change", () => {
    const chosen = select.selectedIndex;
    if (views[chosen].matches(".later")) {
      const made = document.importNode(views[chosen].content, true).firstElementChild;
      views[chosen].replaceWith(made);
      views[chosen] = made;
      made.dispatchEvent(new Event("takes", { bubbles: true }));
    }
    views.forEach((view, n) => { view.hidden = n !== chosen; });
  });
  select.selectedIndex = 0; // a browser may remember another
  select.parentElement.hidden = views.length === 0;
})();

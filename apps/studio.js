// The arrow keys turn pages, but not while something that uses them itself has the focus.
document.addEventListener("keydown", (event) => {
  const turns = { ArrowLeft: "#previous-page", ArrowRight: "#next-page" };
  if (!(event.key in turns) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const at = document.activeElement;
  if (at && (at.isContentEditable || at.closest("input, textarea, select, [role=tab], [role=listbox]"))) return;
  const button = document.querySelector(turns[event.key]);
  if (button && button.offsetParent !== null && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

// A new page is read from its top.
document.addEventListener("click", (event) => {
  if (!event.target.closest("#previous-page, #next-page")) return;
  const cards = document.querySelector("#cards");
  if (cards.getBoundingClientRect().top < 0) cards.scrollIntoView();
});

// Rooms are seen a moment before they are at work; what people did in that moment would be lost.
const asleep = new MutationObserver(() => {
  for (const rooms of document.getElementsByClassName("rooms")) rooms.inert = true;
});
asleep.observe(document.documentElement, { childList: true, subtree: true });
const wake = () => {
  asleep.disconnect();
  for (const rooms of document.getElementsByClassName("rooms")) rooms.inert = false;
};

// The server answers in the order in which it is asked, and of two requests at once either may be there first.
// Who leaves the page waits for no answer: what is cut off then is no error. A download leaves it for a moment only.
const ask = window.fetch;
let asked = Promise.resolve();
let leaving = false;
window.addEventListener("beforeunload", () => {
  leaving = true;
  setTimeout(() => { leaving = false; }, 5000);
});
const never = new Promise(() => {});
window.addEventListener("unhandledrejection", (event) => {
  if (leaving) event.preventDefault();
});
// Gradio hears first that a page is left: it closes its streams and complains of that in the same moment.
const complain = console.error;
console.error = (...words) => setTimeout(() => leaving || complain(...words));

// A studio that was started again does not know the pages of before, and one that has ended knows none.
const tell = (words) => {
  const bar = document.querySelector(".lost") ?? document.body.appendChild(document.createElement("div"));
  bar.className = "lost";
  bar.setAttribute("role", "alert");
  bar.textContent = words;
};
const heed = (answer) => answer.then(
  (found) => {
    if (found.ok) document.querySelector(".lost")?.remove();
    if (found.status === 500) tell("The studio was started again since this page was opened. Reload the page to go on; copy what you have typed first.");
  },
  () => {
    if (!leaving) tell("The studio does not answer. Start it again with lab studio, then reload the page; copy what you have typed first.");
  },
);
const unlessLeaving = (answer) => answer.catch((error) => (leaving ? never : Promise.reject(error)));
// The server ends its stream of answers once it has given all. A page that asks in that moment, before it has heard of
// the end, opens no new stream and would wait for ever; so the end is told only to a page that waits for nothing.
let unanswered = 0;
const answeredOne = () => { unanswered = Math.max(0, unanswered - 1); };
const passOn = async (stream, out) => {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  const encoder = new TextEncoder();
  let rest = "";
  let goesOn = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return goesOn;
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const kind = JSON.parse(message.slice("data: ".length)).msg;
      if (kind === "process_completed") answeredOne();
      if (kind === "close_stream" && unanswered) goesOn = true;
      else out.enqueue(encoder.encode(`${message}\n\n`));
    }
  }
};
const keptUp = async (request) => {
  const again = () => ask(request.clone());
  const first = await again();
  if (!first.ok) return first;
  const answers = async (out) => {
    let part = first;
    while (await passOn(part.body, out)) part = await again();
    out.close();
  };
  const body = new ReadableStream({ start: (out) => void answers(out).catch((error) => out.error(error)) });
  return new Response(body, { status: first.status, headers: first.headers });
};

window.fetch = (request, ...rest) => {
  const address = String(request.url ?? request);
  if (address.includes("/queue/data")) return unlessLeaving(keptUp(new Request(request, ...rest)));
  if (!address.includes("/queue/join")) return unlessLeaving(ask(request, ...rest));
  unanswered += 1;
  const answer = asked.then(() => ask(request, ...rest));
  answer.then((found) => found.ok || answeredOne(), answeredOne);
  asked = answer.catch(() => {});
  heed(answer);
  return unlessLeaving(answer);
};

const seen = (selector) => [...document.querySelectorAll(selector)].find((one) => one.offsetParent !== null && !one.closest("[inert]"));

// The arrow keys turn pages, but not while something that uses them itself has the focus.
document.addEventListener("keydown", (event) => {
  const turns = { ArrowLeft: "#previous-page, .previous-page", ArrowRight: "#next-page, .next-page" };
  if (!(event.key in turns) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const at = document.activeElement;
  if (at && (at.isContentEditable || at.closest("input, textarea, select, [role=tab], [role=listbox]"))) return;
  const button = seen(turns[event.key]);
  if (button && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

// A new page is read from its top.
document.addEventListener("click", (event) => {
  if (!event.target.closest("#previous-page, #next-page, .previous-page, .next-page")) return;
  const cards = [...document.querySelectorAll("#cards, .found")].find((one) => one.offsetParent !== null);
  if (cards && cards.getBoundingClientRect().top < 0) cards.scrollIntoView();
});

// The number of a slider that is emptied means nothing yet; who leaves it so gets the number back.
const emptied = (field) => field.matches?.("input[type=number]") && field.value === "" && field.closest(".block")?.querySelector("input[type=range]");
document.addEventListener("input", (event) => {
  if (emptied(event.target)) event.stopImmediatePropagation();
}, true);
document.addEventListener("focusout", (event) => {
  const slider = emptied(event.target);
  if (slider) event.target.value = slider.value;
}, true);

// What is chosen in a picture or on a card goes to the server through an input that nobody sees.
const send = (place, words) => {
  const input = document.querySelector(`${place} textarea, ${place} input`);
  input.value = input.value === words ? `${words} ` : words; // what is chosen again is news, too
  input.dispatchEvent(new Event("input", { bubbles: true }));
};
document.addEventListener("click", (event) => {
  const sender = event.target.closest("[data-send]");
  if (sender) send(sender.dataset.send, sender.dataset.words);
});

// The jobs are drawn anew while they run: a button that had the focus has it again.
let held = "";
document.addEventListener("focusin", (event) => {
  held = event.target.closest("#run-jobs [data-words]")?.dataset.words ?? "";
});
new MutationObserver(() => {
  if (held && document.activeElement === document.body) {
    document.querySelector(`#run-jobs [data-words="${held}"]`)?.focus({ preventScroll: true });
  }
}).observe(document.documentElement, { childList: true, subtree: true });

// In the plot of two scores a click is a quadrant and a drag a box, as shares of the axes.
let drag = null;
const shares = (event) => {
  const ground = drag.plot.querySelector(".ground").getBoundingClientRect();
  const part = (value) => Math.min(1, Math.max(0, value));
  return [part((event.clientX - ground.left) / ground.width), part(1 - (event.clientY - ground.top) / ground.height)];
};
const dragged = (event) => Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 5;
document.addEventListener("pointerdown", (event) => {
  const plot = event.target.closest("svg.scatter");
  if (!plot || event.button !== 0) return;
  event.preventDefault();
  drag = { plot, x: event.clientX, y: event.clientY };
  drag.start = shares(event);
});
document.addEventListener("pointermove", (event) => {
  if (!drag || !dragged(event)) return;
  const [ground, [x, y], [left, low]] = [drag.plot.querySelector(".ground"), shares(event), drag.start];
  const of = (name) => Number(ground.getAttribute(name));
  drag.box ??= drag.plot.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
  const box = { class: "box", x: of("x") + Math.min(x, left) * of("width"), width: Math.abs(x - left) * of("width") };
  box.y = of("y") + (1 - Math.max(y, low)) * of("height");
  box.height = Math.abs(y - low) * of("height");
  for (const [name, value] of Object.entries(box)) drag.box.setAttribute(name, value);
});
document.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const words = dragged(event) ? [...drag.start, ...shares(event)] : drag.start;
  drag = null;
  send("#compare-area", words.map((share) => share.toFixed(4)).join(" "));
});
document.addEventListener("pointercancel", () => {
  drag?.box?.remove();
  drag = null;
});

// An image on the clipboard is tried where there is room for it: the room "Try it" is open.
document.addEventListener("paste", (event) => {
  const image = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  const place = document.querySelector("#try-file input[type=file]");
  if (!image || !place || document.querySelector("#try-file").offsetParent === null) return;
  event.preventDefault();
  const files = new DataTransfer();
  files.items.add(image);
  place.files = files.files;
  place.dispatchEvent(new Event("change", { bubbles: true }));
});

// The review: each verdict has a key, which is silent while a text field has the focus.
const KEYS = {
  k: "#review-keep", d: "#review-drop", z: "#review-undo, #audit-undo",
  y: "#audit-yes", n: "#audit-no", u: "#audit-unsure",
  ArrowUp: "#review-previous, #audit-previous", ArrowDown: "#review-next, #audit-next",
};
const writes = (at) => at && (at.isContentEditable || at.closest("textarea, select, [role=listbox], input:not([type=radio], [type=checkbox])"));
const write = (area, words) => {
  area.value = words;
  area.dispatchEvent(new Event("input", { bubbles: true }));
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || writes(document.activeElement)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key.startsWith("Arrow") && document.activeElement?.closest("input, [role=tab]")) return;
  const area = key === "e" && seen("#review-text textarea");
  const button = KEYS[key] && seen(KEYS[key]);
  if (!area && !button) return;
  event.preventDefault();
  if (button) return button.click();
  const text = document.querySelector("#review-focus [data-row]")?.dataset.text;
  if (!area.value && text) write(area, text);
  area.focus();
});
document.addEventListener("keydown", (event) => {
  const area = event.target.closest?.("#review-text textarea");
  if (!area || event.isComposing) return;
  if (event.key === "Escape") write(area, "");
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("#review-save").click();
  else return;
  event.preventDefault();
  area.blur();
});

// The address names the room that is open, so that a reload comes back to it; of Gradio's own words it keeps the look.
const addressed = (words) => {
  const look = new URLSearchParams(location.search).get("__theme");
  const all = [words.slice(1), look && `__theme=${encodeURIComponent(look)}`].filter(Boolean).join("&");
  history.replaceState(null, "", all ? `?${all}` : location.pathname);
};
document.addEventListener("click", (event) => {
  const tab = event.target.closest(".rooms .tab-wrapper button");
  const room = tab && !tab.closest(".room") ? tab.textContent.trim().toLowerCase().replace(" ", "-") : "";
  if (room && room !== new URLSearchParams(location.search).get("room")) addressed(room === "decisions" ? "" : `?room=${room}`);
});

// What is on the screen: a verdict is on that and on its version, whatever has happened since.
let chosen = ""; // A caption that was clicked and is on its way: like a link, a place without a version.
document.addEventListener("click", (event) => {
  chosen = event.target.closest('[data-send="#review-goto"]')?.dataset.words ?? chosen;
}, true);
let answered = ""; // The caption of the newest answer, which the page shows a moment after it has it.
let drafts = {}; // Better texts that nobody has saved yet, by their captions, as of the newest answer.
const followed = (link, waiting) => {
  drafts = JSON.parse(waiting || "{}");
  answered = new URLSearchParams(link).get("row") ?? "";
  if (seen(".reviewing")) addressed(link); // an answer may come when another room is open already
};
const arrived = (link, waiting) => {
  chosen = "";
  followed(link, waiting);
};
const reviewShown = () => {
  if (chosen) return chosen;
  const { row, version, queue } = document.querySelector("#review-focus [data-queue]")?.dataset ?? {};
  if (answered && row && row !== answered) return answered;
  // While a link is being opened its caption is not there yet: it has a place, but no version to judge.
  return queue ? `${row ?? ""} ${version ?? ""} ${queue}` : new URLSearchParams(location.search).get("row") ?? "";
};
const reviewWritten = () => document.querySelector("#review-focus [data-row]")?.dataset.row ?? "";

// Better texts that nobody has saved yet outlive their page: each stands in the box again when its caption does.
const UNSAVED = `better texts of ${location.pathname}`;
window.addEventListener("beforeunload", () => {
  const text = document.querySelector("#review-text textarea")?.value, row = reviewWritten();
  const { [row]: before, ...others } = drafts;
  sessionStorage.setItem(UNSAVED, JSON.stringify(row && text ? { ...others, [row]: text } : others));
});
const reviewOpened = () => {
  const waiting = sessionStorage.getItem(UNSAVED) ?? "{}";
  drafts = JSON.parse(waiting);
  return waiting;
};

const auditShown = () => {
  const focus = document.querySelector("#audit-question [data-row]");
  return focus ? `${focus.dataset.row} ${focus.dataset.version} ${focus.dataset.number} ${focus.dataset.draw}` : "";
};

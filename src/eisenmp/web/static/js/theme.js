// Light and dark: the system's choice until the user makes one, and colours for what is drawn on a canvas.

const KEY = "eisenmp theme";
const ORDER = ["auto", "light", "dark"];
const NAMES = { auto: "as the system", light: "light", dark: "dark" };

let chosen = "auto";
let colours = new Map();
const listeners = [];

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(theme) {
  chosen = ORDER.includes(theme) ? theme : "auto";
  if (chosen === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", chosen);
  colours = new Map();
  for (const listener of listeners) listener();
}

/** Make a button go through the themes. */
export function themeButton(button) {
  const show = () => {
    button.setAttribute("aria-label", `Colours: ${NAMES[chosen]}. Change`);
    button.title = `Colours: ${NAMES[chosen]}`;
    button.dataset.theme = chosen;
  };
  apply(stored());
  show();
  button.addEventListener("click", () => {
    apply(ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length]);
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // it holds for as long as the page is open
    }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(chosen));
}

/** Call back whenever colours have changed. */
export function onTheme(listener) {
  listeners.push(listener);
}

/** A colour of the style sheet, such as "accent", in a form that a canvas takes; `alpha` makes it thinner. */
export function colour(name, alpha = 1) {
  const key = `${name} ${alpha}`;
  if (!colours.has(key)) colours.set(key, resolved(name, alpha));
  return colours.get(key);
}

function resolved(name, alpha) {
  const probe = document.getElementById("probe"); // the browser works out light-dark() and the rest
  probe.style.color = `var(--${name})`;
  const value = getComputedStyle(probe).color;
  const parts = value.match(/[\d.]+/g)?.slice(0, 3) ?? ["128", "128", "128"];
  return `rgb(${parts.join(" ")} / ${alpha})`;
}

// Elements without markup: text is only ever set as text, because what workers print is in nobody's hands.

/** An element. `attributes`: class, data-…, aria-… and the like; children are elements or texts. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Set a text, when it is another one: an unchanged node costs the browser nothing. */
export function say(node, text) {
  const value = String(text);
  const [only] = node.childNodes;
  if (node.childNodes.length === 1 && only.nodeType === Node.TEXT_NODE) {
    if (only.data !== value) only.data = value;
  } else if (value !== "" || node.childNodes.length) {
    node.textContent = value;
  }
}

/** Set an attribute, when it is another one; null takes it away. */
export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** How full a bar is, 0..1, through a custom property that the style sheet reads. */
export function fill(node, share) {
  const value = Number.isFinite(share) ? Math.min(1, Math.max(0, share)).toFixed(4) : "0";
  if (node.style.getPropertyValue("--fill") !== value) node.style.setProperty("--fill", value);
}

/**
 * Keeps the children of a parent in step with a list: one node for each key, made once, changed in place.
 *
 * @param parent whose children these are, and nobody else's
 * @param make (item) => node
 * @param change (node, item)
 */
export function keyed(parent, make, change) {
  const nodes = new Map();
  return (items, key) => {
    const wanted = new Set(items.map(key));
    for (const [name, node] of nodes) {
      if (!wanted.has(name)) {
        node.remove();
        nodes.delete(name);
      }
    }
    let place = parent.firstChild;
    for (const item of items) {
      const name = key(item);
      let node = nodes.get(name);
      if (node === undefined) {
        node = make(item);
        nodes.set(name, node);
      }
      change(node, item);
      if (node === place) place = place.nextSibling;
      else parent.insertBefore(node, place);
    }
  };
}

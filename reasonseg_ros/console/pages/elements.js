// Elements are built from text only, so foreign text is never parsed as markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties, attributes (names with a hyphen), listeners (`onclick`), and children or texts. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** Replace the children of an element. The new child with the focused one's `data-key` gets the focus. */
export function fill(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const scroll = element.scrollTop;
  element.replaceChildren(...children);
  element.scrollTop = scroll;
  if (key !== undefined) {
    for (const one of element.querySelectorAll("[data-key]")) if (one.dataset.key === key) one.focus();
  }
}

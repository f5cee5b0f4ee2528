// Elements with text only: nothing that comes from outside is ever read as markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties, `data-` and `aria-` attributes, listeners (`onclick`), and children or texts. */
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

/** Replace what an element holds. A focused element with the same `data-key` keeps the focus. */
export function fill(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const scroll = element.scrollTop;
  element.replaceChildren(...children);
  element.scrollTop = scroll;
  if (key !== undefined) {
    for (const one of element.querySelectorAll("[data-key]")) if (one.dataset.key === key) one.focus();
  }
}

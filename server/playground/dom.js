// Elements made by DOM calls. Text always goes in as text: nothing here parses HTML.

/** The element of the page with this id. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found;
}

/** A new element; `children` are nodes, or strings that become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Say something to screen readers, once. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Set custom properties of CSS (numbers between 0 and 1, mostly) on an element. */
export function place(target, properties) {
  for (const [name, value] of Object.entries(properties)) {
    target.style.setProperty(`--${name}`, value);
  }
}

/**
 * Elements as data, and a patch of what is shown to them: what did not change stays as it is, with its focus, its
 * scroll position and whether it is folded out.
 * @typedef {{ tag: string, key: string | undefined, props: Props, children: Child[] }} Element
 * @typedef {Element | string} Child
 * @typedef {Child | number | false | null | undefined | Several[]} Several
 * @typedef {Record<string, string | number | boolean | undefined | ((event: any) => void)>} Props
 */

/**
 * @param {string} tag an element's name, with its classes: `div.card.quiet`
 * @param {Props} [props] attributes; functions are handlers, as `onclick`; `key` tells siblings apart
 * @param {...Several} children
 * @returns {Element}
 */
export function h(tag, props = {}, ...children) {
  const { key, ...rest } = props;
  const [name = '', ...classes] = tag.split('.');
  if (classes.length > 0) {
    const more = rest.class === undefined ? [] : [String(rest.class)];
    rest.class = [...classes, ...more].join(' ');
  }
  return {
    tag: name,
    key: key === undefined ? undefined : String(key),
    props: rest,
    children: flat(children),
  };
}

/** @param {Several[]} children @returns {Child[]} */
function flat(children) {
  return children.flatMap((child) => {
    if (Array.isArray(child)) return flat(child);
    if (child === false || child === null || child === undefined) return [];
    return [typeof child === 'number' ? String(child) : child];
  });
}

const svgTags = new Set(['svg', 'path', 'circle', 'rect']);

/** @type {WeakMap<Node, { key: string | undefined, props: Props }>} */
const known = new WeakMap();

/**
 * Makes the children of a node those that are given. The inside of a custom element is its own.
 * @param {Element | globalThis.Element} parent
 * @param {...Several} several
 */
export function show(parent, ...several) {
  const node = /** @type {globalThis.Element} */ (parent);
  const children = flat(several);
  /** @type {Map<string, ChildNode>} */
  const keyed = new Map();
  for (const child of node.childNodes) {
    const key = known.get(child)?.key;
    if (key !== undefined) keyed.set(key, child);
  }
  /** @type {ChildNode | null} */
  let next = node.firstChild;
  for (const child of children) {
    const key = typeof child === 'string' ? undefined : child.key;
    let found = key === undefined ? next : (keyed.get(key) ?? null);
    if (found === null || !fits(found, child)) found = create(child);
    // A custom element looks at its attributes when it is put in.
    update(found, child);
    if (found === next) next = next.nextSibling;
    else node.insertBefore(found, next);
  }
  while (next !== null) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

/** @param {ChildNode} node @param {Child} child */
function fits(node, child) {
  if (typeof child === 'string') return node.nodeType === 3;
  return node.nodeName.toLowerCase() === child.tag && known.get(node)?.key === child.key;
}

/** @param {Child} child @returns {ChildNode} */
function create(child) {
  if (typeof child === 'string') return document.createTextNode(child);
  const node = svgTags.has(child.tag)
    ? document.createElementNS('http://www.w3.org/2000/svg', child.tag)
    : document.createElement(child.tag);
  known.set(node, { key: child.key, props: {} });
  return node;
}

/** @param {ChildNode} node @param {Child} child */
function update(node, child) {
  if (typeof child === 'string') {
    if (node.nodeValue !== child) node.nodeValue = child;
    return;
  }
  const element = /** @type {HTMLElement} */ (node);
  const before = known.get(element)?.props ?? {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(child.props)])) {
    const value = child.props[name];
    if (value === before[name]) continue;
    if (typeof value === 'function' || name.startsWith('on'))
      Object.assign(element, { [name]: value ?? null });
    else if (value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  known.set(element, { key: child.key, props: child.props });
  if (!child.tag.includes('-')) show(element, ...child.children);
}

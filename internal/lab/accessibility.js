// Checks a page by those success criteria of WCAG 2.2 that a program can judge, and gives a list of what fails as JSON.
(() => {
  const found = [];
  const fail = (rule, node) => found.push(rule + ": " + (node ? node.outerHTML.slice(0, 120) : "page"));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (node) => node.checkVisibility() && node.getClientRects().length > 0;
  const name = (node) => (node.getAttribute("aria-label") || node.innerText || "").trim();

  if (!document.documentElement.lang) fail("3.1.1 language", document.documentElement);
  if (!document.title.trim()) fail("2.4.2 title");
  if (all("h1").length !== 1) fail("1.3.1 one h1");
  if (all("main").length !== 1) fail("1.3.1 one main landmark");
  let level = 0;
  for (const heading of all("h1,h2,h3,h4,h5,h6")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) fail("1.3.1 a heading level is left out", heading);
    level = now;
  }
  const ids = new Set();
  for (const node of all("[id]")) {
    if (ids.has(node.id)) fail("4.1.1 two elements of one id", node);
    ids.add(node.id);
  }
  for (const node of all("[aria-labelledby],[aria-describedby],[for]"))
    for (const attribute of ["aria-labelledby", "aria-describedby", "for"])
      for (const id of (node.getAttribute(attribute) || "").split(/\s+/).filter(Boolean))
        if (!ids.has(id)) fail("1.3.1 a label that is not there", node);
  for (const link of all("a[href],button,summary")) if (shown(link) && !name(link)) fail("4.1.2 without a name", link);
  for (const link of all('a[href^="#"]')) if (!ids.has(decodeURIComponent(link.hash.slice(1)))) fail("2.4.4 a link to nowhere", link);
  for (const image of all("img")) if (!image.hasAttribute("alt")) fail("1.1.1 without an alternative", image);
  for (const field of all("input,select,textarea"))
    if (!field.labels?.length && !field.getAttribute("aria-label")) fail("3.3.2 a field without a label", field);
  for (const header of all("th")) if (!header.scope) fail("1.3.1 a header without a scope", header);
  for (const list of all("ul,ol")) for (const child of list.children) if (child.tagName !== "LI") fail("1.3.1 not an item of a list", child);
  for (const list of all("dl")) for (const child of list.children) if (!["DIV", "DT", "DD"].includes(child.tagName)) fail("1.3.1 not a term", child);
  for (const region of all('[role="region"]')) if (!region.getAttribute("aria-label") && !region.getAttribute("aria-labelledby")) fail("1.3.1 a region without a name", region);
  for (const node of all("*"))
    if (shown(node) && node.scrollWidth > node.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(node).overflowX) && node.tabIndex < 0)
      fail("2.1.1 scrolls and takes no focus", node);

  // Contrast (1.4.3): text against what it stands on.
  const parse = (color) => {
    const parts = (color.match(/[\d.]+/g) || []).map(Number);
    return parts.length < 3 ? null : { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const light = ([r, g, b]) =>
    [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color && color.alpha > 0.99) return color.rgb;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(node) || !shown(node) || ["STYLE", "SCRIPT"].includes(node.tagName)) continue;
    seen.add(node);
    const style = getComputedStyle(node);
    const ink = parse(style.color);
    if (!ink) continue;
    const [a, b] = [light(ink.rgb), light(ground(node))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) fail("1.4.3 contrast " + ((a + 0.05) / (b + 0.05)).toFixed(2), node);
  }
  return JSON.stringify(found);
})();

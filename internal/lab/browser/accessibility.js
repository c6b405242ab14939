// Checks a page by those success criteria of WCAG 2.2 that a program can judge, and gives a list of what fails as JSON.
(() => {
  const found = [];
  const fail = (rule, node) => found.push(rule + ": " + (node ? node.outerHTML.slice(0, 120) : "page"));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (node) => node.checkVisibility() && node.getClientRects().length > 0;
  const squeeze = (text) => text.replace(/\s+/g, " ").trim();
  const attribute = (node, which) => node.getAttribute(which) || "";
  const labelled = (node) => attribute(node, "aria-labelledby").split(/\s+/).map((id) => document.getElementById(id)?.textContent || "").join(" ");
  const name = (node) => squeeze(labelled(node)) || squeeze(attribute(node, "aria-label")) || squeeze(node.innerText || "");

  // What is folded has to be as usable as the rest, and can only be measured while it is open.
  const folded = all("details:not([open])");
  for (const details of folded) details.open = true;

  // The page as a whole.
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) fail("1.4.10 it scrolls sideways with everything open");
  try {
    if (!page.lang) fail("3.1.1 language", page);
    else Intl.getCanonicalLocales(page.lang);
  } catch {
    fail("3.1.1 the language is none", page);
  }
  if (!document.title.trim()) fail("2.4.2 title");
  if (all("h1").length !== 1) fail("1.3.1 one h1");
  if (all("main").length !== 1) fail("1.3.1 one main landmark");
  for (const meta of all('meta[name="viewport"]'))
    if (/user-scalable\s*=\s*(no|0)|maximum-scale\s*=\s*[01](\.\d+)?\s*(,|$)/.test(meta.content)) fail("1.4.4 it cannot be enlarged", meta);
  for (const meta of all('meta[http-equiv="refresh" i]')) fail("2.2.1 it moves on by itself", meta);

  // Headings, landmarks and what names them.
  let level = 0;
  for (const heading of all("h1,h2,h3,h4,h5,h6")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) fail("1.3.1 a heading level is left out", heading);
    level = now;
    if (!squeeze(heading.textContent)) fail("2.4.6 a heading without text", heading);
  }
  const ids = new Set();
  for (const node of all("[id]")) {
    if (ids.has(node.id)) fail("4.1.1 two elements of one id", node);
    ids.add(node.id);
    if (!node.id || /\s/.test(node.id)) fail("4.1.1 not an id", node);
  }
  for (const node of all("[aria-labelledby],[aria-describedby],[for]"))
    for (const which of ["aria-labelledby", "aria-describedby", "for"])
      for (const id of attribute(node, which).split(/\s+/).filter(Boolean))
        if (!ids.has(id)) fail("1.3.1 a label that is not there", node);
  for (const region of all('[role="region"]')) if (!attribute(region, "aria-label") && !attribute(region, "aria-labelledby")) fail("1.3.1 a region without a name", region);
  const landmarks = new Set();
  for (const node of all("main,nav,aside,body>header,body>footer,section[aria-label],section[aria-labelledby],[role=region],[role=navigation],[role=search]")) {
    const key = (attribute(node, "role") || (node.tagName === "SECTION" ? "region" : node.tagName)) + " " + (squeeze(labelled(node)) || attribute(node, "aria-label"));
    if (landmarks.has(key)) fail("2.4.1 two landmarks of one name", node);
    landmarks.add(key);
  }
  for (const child of document.body.children)
    if (!["HEADER", "MAIN", "FOOTER", "NAV", "ASIDE", "SCRIPT", "STYLE"].includes(child.tagName) && shown(child)) fail("1.3.1 outside of the landmarks", child);

  // Roles and attributes of ARIA. A misspelt one is worse than none: nothing says that it does nothing.
  const parents = { row: ["table", "rowgroup", "grid"], cell: ["row"], columnheader: ["row"], rowheader: ["row"], rowgroup: ["table", "grid"], listitem: ["list"] };
  const roles = ["region", "table", "grid", "list", "note", "status", "alert", "img", "group", "presentation", "none", "navigation", "search", ...Object.keys(parents)];
  const known = ["label", "labelledby", "describedby", "hidden", "current", "expanded", "controls", "live", "level", "colcount", "rowcount", "sort", "pressed"];
  for (const node of all("[role]")) {
    const role = attribute(node, "role");
    if (!roles.includes(role)) fail("4.1.2 no such role", node);
    if (parents[role] && !parents[role].includes(attribute(node.parentElement.closest("[role]") || node, "role"))) fail("1.3.1 a role without its parent", node);
  }
  for (const node of all("*"))
    for (const which of node.getAttributeNames())
      if (which.startsWith("aria-") && !known.includes(which.slice(5))) fail("4.1.2 no such attribute", node);
  const nameless = ["SPAN", "DIV", "P", "CODE", "B", "STRONG", "EM", "DT", "DD", "TIME"];
  for (const node of all("[aria-label],[aria-labelledby]")) if (nameless.includes(node.tagName) && !node.hasAttribute("role")) fail("4.1.2 a name for what has no role", node);

  // Links and controls.
  const controls = all("a[href],button,summary,input,select,textarea,[tabindex]");
  for (const link of all("a[href],button,summary")) {
    if (!shown(link)) continue;
    if (!name(link)) fail("4.1.2 without a name", link);
    const label = squeeze(attribute(link, "aria-label"));
    if (label && !label.toLowerCase().includes(squeeze(link.innerText).toLowerCase())) fail("2.5.3 the name leaves out the text", link);
    if (link.querySelector("a[href],button,input,select,textarea,[tabindex]")) fail("4.1.2 a control inside another control", link);
  }
  for (const details of all("details")) if (details.firstElementChild?.tagName !== "SUMMARY") fail("4.1.2 details without a summary", details);
  for (const link of all('a[href^="#"]')) if (!ids.has(decodeURIComponent(link.hash.slice(1)))) fail("2.4.4 a link to nowhere", link);
  for (const node of controls) {
    if (node.tabIndex > 0) fail("2.4.3 an order of focus of its own", node);
    if (node.closest('[aria-hidden="true"]') && node.tabIndex >= 0) fail("4.1.2 focus on what is hidden", node);
  }
  // A target is 24 pixels wide and high, or no other one is within the circle of 24 pixels around its middle. Links in a
  // line of text are exempt (2.5.8).
  const inText = (node) => getComputedStyle(node).display === "inline" && squeeze(node.parentElement.textContent) !== squeeze(node.textContent);
  const boxes = controls.filter((node) => node.tabIndex >= 0 && shown(node) && node.matches("a,button,summary,input,select,textarea")).map((node) => ({ node, box: node.getBoundingClientRect() }));
  for (const { node, box } of boxes) {
    if ((box.width >= 24 && box.height >= 24) || inText(node)) continue;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const near = boxes.some(({ node: other, box: b }) => other !== node && Math.hypot(Math.max(b.left - x, 0, x - b.right), Math.max(b.top - y, 0, y - b.bottom)) < 12);
    if (near) fail("2.5.8 a small target", node);
  }

  // Pictures, fields, tables and lists.
  for (const image of all("img")) if (!image.hasAttribute("alt")) fail("1.1.1 without an alternative", image);
  for (const field of all("input,select,textarea"))
    if (!field.labels?.length && !field.getAttribute("aria-label")) fail("3.3.2 a field without a label", field);
  for (const header of all("th")) {
    if (!["row", "col", "rowgroup", "colgroup"].includes(header.scope)) fail("1.3.1 a header without a scope", header);
    if (!squeeze(header.textContent)) fail("1.3.1 a header without text", header);
  }
  for (const table of all("table")) if (table.querySelector("th") && !table.querySelector("td")) fail("1.3.1 a header that heads nothing", table);
  for (const list of all("ul,ol")) for (const child of list.children) if (child.tagName !== "LI") fail("1.3.1 not an item of a list", child);
  for (const item of all("li")) if (!["UL", "OL", "MENU"].includes(item.parentElement.tagName)) fail("1.3.1 an item outside of a list", item);
  for (const list of all("dl")) for (const child of list.children) if (!["DIV", "DT", "DD"].includes(child.tagName)) fail("1.3.1 not a term", child);
  for (const group of all("dl,dl>div"))
    if (group.querySelector(":scope>dt") ? !group.querySelector(":scope>dd") : group.querySelector(":scope>dd")) fail("1.3.1 a term without a text", group);
  for (const term of all("dt,dd")) if (!term.matches("dl>dt,dl>dd,dl>div>dt,dl>div>dd")) fail("1.3.1 a term outside of a list", term);
  for (const node of all("*"))
    if (shown(node) && node.scrollWidth > node.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(node).overflowX) && node.tabIndex < 0)
      fail("2.1.1 scrolls and takes no focus", node);
  for (const node of all("[style]"))
    for (const which of ["line-height", "letter-spacing", "word-spacing"])
      if (node.style.getPropertyPriority(which)) fail("1.4.12 a fixed spacing of text", node);

  // Contrast (1.4.3): text against what it stands on, both as faint as the elements around them make them.
  const parse = (color) => {
    const parts = (color.match(/[\d.]+/g) || []).map(Number);
    return parts.length < 3 ? null : { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const light = ([r, g, b]) =>
    [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, alpha, below) => top.map((v, i) => v * alpha + below[i] * (1 - alpha));
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color && color.alpha > 0) layers.unshift(color);
      if (color && color.alpha > 0.99) break;
    }
    const sheet = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    return layers.reduce((below, layer) => over(layer.rgb, layer.alpha, below), sheet);
  };
  const opacity = (node) => {
    let product = 1;
    for (let at = node; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
    return product;
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
    const below = ground(node);
    const contrast = ratio(over(ink.rgb, ink.alpha * opacity(node), below), below);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) fail("1.4.3 contrast " + contrast.toFixed(2), node);
  }

  // A link in a line of text is told from it by more than its colour (1.4.1).
  for (const link of all("a[href]")) {
    const style = getComputedStyle(link);
    if (!shown(link) || !inText(link) || style.textDecorationLine.includes("underline") || link.querySelector("*")) continue;
    const around = getComputedStyle(link.parentElement);
    const text = [...link.parentElement.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (text && style.fontWeight === around.fontWeight && style.backgroundColor === "rgba(0, 0, 0, 0)") fail("1.4.1 a link by colour alone", link);
  }

  for (const details of folded) details.open = false;
  return JSON.stringify(found);
})();

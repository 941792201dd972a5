// Small helpers for the page: elements, problems, copying, saying things to screen readers.

export const $ = id => document.getElementById(id);

/** el("td", { className: "name" }, "text", child): properties are set, `dataset` and `aria-…` too. */
export function el(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
        if (key === "dataset") Object.assign(node.dataset, value);
        else if (key.includes("-") || key === "role") node.setAttribute(key, value);
        else node[key] = value;
    }
    node.append(...children);
    return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
}

export const icon = (name, extra = "") =>
    svg("svg", { class: `icon ${extra}`.trim(), "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

export function setIcon(button, name) {
    button.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Leaves the node alone when nothing changed: no flicker, no repeated announcement, no lost selection. */
export function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

/** tone: "good", "busy", "bad" or "". */
export function setBadge(node, text, tone = "") {
    setText(node, text);
    node.dataset.tone = tone;
}

/** Shows a Problem in its place on the page. `action`: { label, run }; `tone` "info" for what is no failure. */
export function showProblem(box, { title, detail, remedy, status }, { action, tone = "bad" } = {}) {
    const technical = [detail, status ? `(HTTP ${status})` : ""].filter(Boolean).join(" ");
    const words = el("div", { className: "words" }, el("strong", {}, title));
    if (technical) words.append(el("p", { className: "detail" }, technical));
    if (remedy) words.append(el("p", { className: "remedy" }, remedy));
    if (action) {
        const button = el("button", { type: "button", className: "button small" }, action.label);
        button.addEventListener("click", action.run);
        words.append(button);
    }
    const dismiss = el("button", { type: "button", className: "dismiss", "aria-label": "Dismiss" }, icon("close"));
    dismiss.addEventListener("click", () => clearProblem(box));
    box.replaceChildren(el("div", { dataset: { tone } }, icon("warn", "lead"), words, dismiss));
}

export function clearProblem(box) {
    if (box.hasChildNodes()) box.replaceChildren();
}

/** Marks a field as wrong and says why; null takes the mark away. */
export function setFault(input, text, { focus = false } = {}) {
    setText($(`${input.id}-fault`), text ?? "");
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (text && focus) input.focus();
}

export function announce(text) {
    $("announcer").textContent = text;
}

async function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) {
        await navigator.clipboard.writeText(text);
        return;
    }
    // Plain http from another machine has no clipboard API.
    const area = el("textarea", { value: text, className: "hidden-label", readOnly: true });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copying refused");
}

/** A button that copies what `text()` returns and says so for a moment. */
export function wireCopy(button, text) {
    const label = button.querySelector("span");
    const before = label?.textContent;
    const image = button.querySelector("use").getAttribute("href").slice(3);
    let timer = null;
    button.addEventListener("click", async () => {
        let words = "Copied";
        try {
            await copyText(text());
            setIcon(button, "done");
        } catch {
            words = "Copying was refused";
        }
        if (label) label.textContent = words;
        announce(words);
        clearTimeout(timer);
        timer = setTimeout(() => {
            setIcon(button, image);
            if (label) label.textContent = before;
        }, 1800);
    });
    return button;
}

export function copyButton(what, text) {
    const button = el("button", {
        type: "button", className: "button icon-only small", "aria-label": `Copy ${what}`, title: `Copy ${what}`,
    }, icon("copy"));
    return wireCopy(button, text);
}

/** The link that plays a stream at once. */
export function watchURL(name) {
    const url = new URL("./", document.baseURI);
    url.searchParams.set("play", name);
    return url.href;
}

/** Remembered choices; a browser that keeps nothing only forgets them. */
export const memory = {
    get(key) {
        try {
            return localStorage.getItem(`weir.${key}`);
        } catch {
            return null;
        }
    },
    set(key, value) {
        try {
            localStorage.setItem(`weir.${key}`, value);
        } catch {
            // Private mode: nothing is kept.
        }
    },
};

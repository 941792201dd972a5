// Recordings, for the operator: the record button of what this page publishes, and the list with pictures, played in place.

import { Problem, asProblem } from "./errors.js";
import * as format from "./format.js";
import { $, announce, clearProblem, el, icon, setBadge, setText, showProblem } from "./ui.js";

const PERIOD_MS = 5000;
const ANSWER_LIMIT_MS = 12_000;

const address = path => new URL(path, document.baseURI);
const entryPath = name => `api/recordings/${encodeURIComponent(name)}`;

/** Resolves with the response if it is good, else throws a Problem. */
async function ask(path, options = {}) {
    let response;
    try {
        response = await fetch(address(path), { cache: "no-store", signal: AbortSignal.timeout(ANSWER_LIMIT_MS), ...options });
    } catch (error) {
        throw new Problem("The server does not answer.", { detail: error.message, transient: true });
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new Problem("The server refused that.", { detail: body.detail, remedy: body.remedy, status: response.status });
}

const rest = (path, body) => ask(`rest-api/${path}`, { method: "POST", body: JSON.stringify(body) });

export class Recordings {
    #rows = new Map();
    #publisher;
    #isServed = false;
    #isBusy = false;

    constructor(publisher) {
        this.#publisher = publisher;
        $("publish-record").addEventListener("click", () => void this.#toggle());
        $("record-close").addEventListener("click", () => this.#closePlayer());
        $("record-player").addEventListener("error", () => {
            if (!$("record-player").getAttribute("src")) return;
            showProblem($("record-problem"), new Problem("This browser cannot play the recording.", {
                remedy: "Download it and play it with another program.",
            }));
        });
        publisher.addEventListener("live", () => void this.#showButton());
    }

    async start() {
        for (;;) {
            if (!document.hidden && !(await this.#refresh())) return;
            await new Promise(resolve => setTimeout(resolve, PERIOD_MS));
        }
    }

    /** Resolves false when there is nothing to show here: this is not the operator, or nothing is recorded. */
    async #refresh() {
        let entries;
        try {
            entries = await (await ask("api/recordings")).json();
        } catch (problem) {
            const isRefused = [401, 403, 404].includes(problem.status);
            if (isRefused) this.#setServed(false);
            return !isRefused;
        }
        this.#setServed(true);
        this.#show(entries);
        return true;
    }

    #setServed(isServed) {
        this.#isServed = isServed;
        $("recordings").hidden = !isServed;
        $("nav-recordings").hidden = !isServed;
        void this.#showButton();
    }

    // MARK: The button

    async #stream() {
        const found = await (await rest("stream/find", { name: this.#publisher.name, published: true })).json();
        return found[0];
    }

    async #showButton() {
        const button = $("publish-record");
        button.hidden = !(this.#isServed && this.#publisher.isLive);
        if (button.hidden || this.#isBusy) return;
        try {
            this.#setRecording((await this.#stream()).record);
        } catch {
            // It has just ended.
        }
    }

    #setRecording(isOn) {
        const button = $("publish-record");
        button.setAttribute("aria-pressed", String(isOn));
        const text = isOn ? "Stop recording" : "Record what you publish";
        button.setAttribute("aria-label", text);
        button.title = text;
    }

    async #toggle() {
        if (this.#isBusy) return;
        this.#isBusy = true;
        const wasOn = $("publish-record").getAttribute("aria-pressed") === "true";
        try {
            const { mediaSessionId } = await this.#stream();
            await rest(wasOn ? "stream/stopRecording" : "stream/startRecording", { mediaSessionId });
            this.#setRecording(!wasOn);
            announce(wasOn ? "Recording stopped" : "Recording");
            await this.#refresh();
        } catch (problem) {
            showProblem($("publish-problem"), asProblem(problem));
        } finally {
            this.#isBusy = false;
        }
    }

    // MARK: The list

    #show(entries) {
        const names = new Set(entries.map(entry => entry.name));
        for (const [name, node] of this.#rows) {
            if (names.has(name)) continue;
            node.remove();
            this.#rows.delete(name);
        }
        entries.forEach((entry, index) => {
            let node = this.#rows.get(entry.name);
            if (!node) {
                node = this.#makeRow(entry);
                this.#rows.set(entry.name, node);
            }
            const list = $("recording-list");
            if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
        });
        $("recordings-empty").hidden = entries.length > 0;
        setBadge($("recording-count"), format.count(entries.length, "file", "files"));
    }

    #makeRow(entry) {
        const codecs = [entry.videoCodec, entry.audioCodec].filter(Boolean).map(format.codec).join(" + ");
        const facts = [
            format.duration(entry.duration / 1000), codecs || format.UNKNOWN, format.bytes(entry.bytes),
            new Date(entry.date).toLocaleString(),
        ];
        const button = (name, image, text, run) => {
            const node = el("button", { type: "button", className: "button small", "aria-label": `${text} ${name}` },
                icon(image), el("span", {}, text));
            node.addEventListener("click", run);
            return node;
        };
        const picture = el("img", {
            src: address(`${entryPath(entry.name)}/thumbnail`).href, alt: "", loading: "lazy", width: 128, height: 72,
        });
        picture.addEventListener("error", () => picture.classList.add("missing"), { once: true });
        return el("li", { dataset: { recording: entry.name } },
            picture,
            el("div", { className: "what" },
                el("p", { className: "name" }, entry.name), el("p", { className: "facts" }, facts.join(" · "))),
            el("div", { className: "act" },
                button(entry.name, "play", "Play", () => this.#play(entry)),
                el("a", {
                    className: "button small", href: `${address(entry.uri.slice(1)).href}?download`,
                    "aria-label": `Download ${entry.name}`,
                }, "Download"),
                button(entry.name, "close", "Delete", () => void this.#delete(entry))));
    }

    #play(entry) {
        clearProblem($("record-problem"));
        const video = $("record-player");
        video.src = address(entry.uri.slice(1)).href;
        setText($("record-now"), entry.name);
        $("record-stage").hidden = false;
        $("record-close").hidden = false;
        $("record-stage").scrollIntoView({ block: "nearest" });
        video.play().catch(() => {});
    }

    #closePlayer() {
        const video = $("record-player");
        video.pause();
        video.removeAttribute("src");
        video.load();
        $("record-stage").hidden = true;
        $("record-close").hidden = true;
        clearProblem($("record-problem"));
    }

    async #delete(entry) {
        if (!confirm(`Delete the recording ${entry.name}?`)) return;
        clearProblem($("record-problem"));
        try {
            await ask(entryPath(entry.name), { method: "DELETE" });
            if ($("record-now").textContent === entry.name) this.#closePlayer();
            await this.#refresh();
        } catch (problem) {
            showProblem($("record-problem"), asProblem(problem));
        }
    }
}

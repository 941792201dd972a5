// The list of live streams: asked for each second, shown in place so that nothing jumps under a finger.

import * as format from "./format.js";
import { ffplayCommand, rtspURL, vlcCommand } from "./rtsp.js";
import { $, copyButton, el, icon, setBadge, setText, watchURL } from "./ui.js";

const PERIOD_MS = 1000;
const HIDDEN_PERIOD_MS = 5000;
const ANSWER_LIMIT_MS = 4000;

/** Event "change" after each answer: `streams` is a Map of names, null while the server does not list them. */
export class StreamList extends EventTarget {
    streams = null;
    #rows = new Map();
    #play;
    #ownName;

    /** `play(name)` when a play button is pressed; `ownName()` is what this page publishes, or null. */
    constructor({ play, ownName }) {
        super();
        this.#play = play;
        this.#ownName = ownName;
    }

    start() {
        void this.#loop();
    }

    async #loop() {
        for (;;) {
            await this.#refresh();
            await new Promise(resolve => setTimeout(resolve, document.hidden ? HIDDEN_PERIOD_MS : PERIOD_MS));
        }
    }

    async #refresh() {
        let response;
        try {
            response = await fetch(new URL("api/streams", document.baseURI), {
                cache: "no-store", signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
            });
            if (response.ok) {
                this.#show((await response.json()).map(normalise));
                this.#setServer("Online", "good");
            }
        } catch {
            this.streams = null;
            this.#setServer("No answer", "bad");
            if (this.#rows.size === 0) this.#setEmpty("The server does not answer. Trying again…");
            this.dispatchEvent(new Event("change"));
            return;
        }
        if (!response.ok) {
            this.streams = null;
            this.#setServer("Online", "good");
            this.#clear();
            this.#setEmpty(response.status === 401 || response.status === 403
                ? "This server shows its list only to its operator. Playing by name works."
                : `The list is not available (HTTP ${response.status}). Playing by name works.`);
        }
        this.dispatchEvent(new Event("change"));
    }

    #setServer(text, tone) {
        const pill = $("server-state");
        pill.dataset.tone = tone;
        setText(pill.lastElementChild, text);
    }

    #setEmpty(text) {
        $("streams").hidden = true;
        $("streams-empty").hidden = false;
        setText($("streams-empty"), text);
        setBadge($("live-count"), format.UNKNOWN);
    }

    #clear() {
        for (const row of this.#rows.values()) row.node.remove();
        this.#rows.clear();
        $("live-names").replaceChildren();
    }

    #show(all) {
        // Files that one player watches alone cannot be played by the name that they have here.
        const live = all.filter(stream => stream.isLive && !stream.name.startsWith("vod://")).sort((a, b) => a.name.localeCompare(b.name));
        this.streams = new Map(live.map(stream => [stream.name, stream]));
        let namesChanged = false;
        for (const [name, row] of this.#rows) {
            if (this.streams.has(name)) continue;
            row.node.remove();
            this.#rows.delete(name);
            namesChanged = true;
        }
        const body = $("streams").tBodies[0];
        live.forEach((stream, index) => {
            let row = this.#rows.get(stream.name);
            if (!row) {
                row = this.#makeRow(stream.name);
                this.#rows.set(stream.name, row);
                body.insertBefore(row.node, body.children[index] ?? null);
                namesChanged = true;
            }
            this.#fill(row, stream);
        });
        if (namesChanged) {
            $("live-names").replaceChildren(...live.map(stream => el("option", { value: stream.name })));
        }
        if (live.length === 0) this.#setEmpty("Nobody is live. Publish the test picture above and it appears here.");
        else {
            $("streams").hidden = false;
            $("streams-empty").hidden = true;
        }
        setBadge($("live-count"), `${live.length} live`, live.length > 0 ? "good" : "");
    }

    #makeRow(name) {
        const cell = className => el("td", { className, role: "cell" });
        const row = {
            own: el("span", { className: "tag", hidden: true }, "yours"),
            codec: cell("codec"), size: cell("size"), bitrate: cell("bitrate"), players: cell("players"),
            uptime: cell("uptime"),
        };
        const play = el("button", {
            type: "button", className: "button small", "aria-label": `Play ${name}`,
        }, icon("play"), el("span", {}, "Play"));
        play.addEventListener("click", () => this.#play(name));
        row.node = el("tr", { dataset: { stream: name }, role: "row" },
            el("td", { className: "name", role: "cell" }, name, row.own, this.#rtspDetails(name)),
            row.codec, row.size, row.bitrate, row.players, row.uptime,
            el("td", { className: "last", role: "cell" },
                el("div", { className: "act" }, play, copyButton(`link to watch ${name}`, () => watchURL(name)))));
        return row;
    }

    /** URL and commands of players that are no browsers. */
    #rtspDetails(name) {
        const details = el("details", { className: "rtsp" }, el("summary", { "aria-label": `RTSP of ${name}` }, "RTSP"));
        details.addEventListener("toggle", () => {
            if (!details.open) return;
            const lines = rtspURL(name)
                ? [["URL", rtspURL], ["ffplay", ffplayCommand], ["VLC", vlcCommand]].map(([title, text]) =>
                    el("div", {}, el("span", { className: "muted" }, title), el("code", {}, text(name)),
                        copyButton(`RTSP ${title} of ${name}`, () => text(name))))
                : [el("p", { className: "muted" }, "RTSP is switched off on this server.")];
            details.replaceChildren(details.firstElementChild, ...lines);
        });
        return details;
    }

    #fill(row, stream) {
        row.own.hidden = stream.name !== this.#ownName();
        const codecs = [stream.videoCodec, stream.audioCodec].filter(Boolean).map(format.codec);
        setText(row.codec, codecs.join(" + ") || format.UNKNOWN);
        setText(row.size, stream.videoCodec ? format.resolution(stream.width, stream.height) : "audio only");
        setText(row.bitrate, format.bitrate(stream.bitrate));
        setText(row.players, String(stream.viewers));
        const others = [[stream.hlsViewers, "HLS"], [stream.rtspPlayers, "RTSP"]].filter(([count]) => count > 0);
        row.players.title = others.map(([count, way]) => `${count} of them by ${way}`).join(", ");
        setText(row.uptime, format.duration(stream.uptime));
    }
}

/** One element of /api/streams. Members that an older or newer server lacks are shown as not known. */
function normalise(entry) {
    const number = value => (Number.isFinite(value) ? value : NaN);
    const hlsViewers = Number.isFinite(entry.hlsViewers) ? entry.hlsViewers : 0;
    const rtspPlayers = Number.isFinite(entry.rtspPlayers) ? entry.rtspPlayers : 0;
    return {
        name: String(entry.name), videoCodec: entry.videoCodec ?? null, audioCodec: entry.audioCodec ?? null,
        width: number(entry.width), height: number(entry.height), bitrate: number(entry.bitrate),
        players: number(entry.players), hlsViewers, rtspPlayers,
        viewers: number(entry.players) + hlsViewers + rtspPlayers, uptime: number(entry.uptime), isLive: entry.isLive !== false,
    };
}

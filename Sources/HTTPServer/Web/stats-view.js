// Shows the figures of one connection: a chart of the bitrate, eight tiles, one line of details.

import * as format from "./format.js";
import { el, setText, svg } from "./ui.js";

const PERIOD_MS = 1000;
const CHART_POINTS = 60;
const CHART_FLOOR_BITS = 100_000;

const LIMITATIONS = { none: "Nothing", cpu: "This computer", bandwidth: "Network", other: "Other" };

export class StatsView {
    /** The last reading, for whoever needs to know whether media flows. */
    reading = null;
    #box;
    #sending;
    #tiles = {};
    #line = svg("polyline", { class: "line" });
    #area = svg("polygon", { class: "area" });
    #fine = el("p", { className: "fine" });
    #history = [];
    #meter = null;
    #timer = null;
    #onReading;

    constructor(box, sending, onReading = () => {}) {
        this.#box = box;
        this.#sending = sending;
        this.#onReading = onReading;
        box.className = "stats";
        const tiles = el("dl", { className: "tiles" });
        const names = ["Bitrate", "Frame rate", "Resolution", "Codec", "Loss", "Round trip", "Jitter"];
        for (const name of [...names, ...(sending ? ["Limited by"] : ["Freezes", "Delay"])]) {
            const value = el("dd", {}, format.UNKNOWN);
            this.#tiles[name] = value;
            tiles.append(el("div", {}, el("dt", {}, name), value));
        }
        const chart = svg("svg", {
            class: "chart", viewBox: `0 0 ${CHART_POINTS - 1} 40`, preserveAspectRatio: "none",
            "aria-hidden": "true",
        }, this.#area, this.#line);
        const caption = el("figcaption", {}, "Bitrate, last minute");
        box.append(el("figure", { className: "chart-box" }, chart, caption), tiles, this.#fine);
    }

    /** Follows another connection by its meter (see Meter); the chart goes on. */
    follow(meter) {
        this.#meter = meter;
        this.#box.hidden = false;
        if (this.#timer === null) this.#timer = setInterval(() => this.#update(), PERIOD_MS);
        void this.#update();
    }

    stop() {
        clearInterval(this.#timer);
        this.#timer = null;
        this.#meter = null;
        this.#history = [];
        this.reading = null;
        this.#box.hidden = true;
    }

    async #update() {
        const meter = this.#meter;
        const reading = await meter.read().catch(() => null);
        if (!reading || meter !== this.#meter) return;
        this.reading = reading;
        this.#show(reading);
        this.#onReading(reading);
    }

    #show(now) {
        const total = sum(now.videoBitrate, now.audioBitrate);
        const show = (name, text) => {
            setText(this.#tiles[name], text);
            this.#tiles[name].title = text;
        };
        show("Bitrate", format.bitrate(total));
        show("Frame rate", Number.isFinite(now.frameRate) ? `${Math.round(now.frameRate)} fps` : format.UNKNOWN);
        show("Resolution", format.resolution(now.width, now.height));
        show("Codec", format.codec(now.videoCodec ?? now.audioCodec));
        show("Loss", format.percent(now.loss));
        show("Round trip", format.milliseconds(now.roundTrip));
        show("Jitter", format.milliseconds(now.jitter));
        if (this.#sending) {
            show("Limited by", LIMITATIONS[now.limitation] ?? format.UNKNOWN);
        } else {
            const isTimed = now.freezes > 0 && Number.isFinite(now.frozenSeconds);
            const frozen = isTimed ? ` (${now.frozenSeconds.toFixed(1)} s)` : "";
            show("Freezes", now.freezes === null ? format.UNKNOWN : `${now.freezes}${frozen}`);
            // From the camera to the screen: only HLS says when a picture was taken.
            this.#tiles.Delay.parentElement.hidden = !Number.isFinite(now.delay);
            show("Delay", Number.isFinite(now.delay) ? `${now.delay.toFixed(1)} s` : format.UNKNOWN);
        }
        this.#showDetails(now);
        if (Number.isFinite(total)) this.#draw(total);
    }

    #showDetails(now) {
        const parts = [now.path];
        if (now.audioCodec && Number.isFinite(now.audioBitrate)) {
            parts.push(`sound ${format.codec(now.audioCodec)} ${format.bitrate(now.audioBitrate)}`);
        }
        if (Number.isFinite(now.bufferDelay)) parts.push(`buffer ${format.milliseconds(now.bufferDelay)}`);
        if (Number.isFinite(now.nacks)) {
            parts.push(format.count(now.nacks, "retransmission request", "retransmission requests"));
            parts.push(format.count(now.keyFrameRequests, "key frame request", "key frame requests"));
        }
        if (now.framesDropped > 0) parts.push(format.count(now.framesDropped, "frame dropped", "frames dropped"));
        setText(this.#fine, parts.filter(Boolean).join(" · "));
    }

    #draw(bitsPerSecond) {
        this.#history.push(bitsPerSecond);
        if (this.#history.length > CHART_POINTS) this.#history.shift();
        const most = Math.max(CHART_FLOOR_BITS, ...this.#history) * 1.1;
        const first = CHART_POINTS - this.#history.length;
        const points = this.#history.map((value, index) => `${first + index},${(40 - (value / most) * 30).toFixed(2)}`);
        this.#line.setAttribute("points", points.join(" "));
        this.#area.setAttribute("points", `${first},40 ${points.join(" ")} ${CHART_POINTS - 1},40`);
    }
}

function sum(...values) {
    const known = values.filter(Number.isFinite);
    return known.length > 0 ? known.reduce((a, b) => a + b, 0) : NaN;
}

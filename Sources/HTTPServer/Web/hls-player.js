// Plays a stream by low-latency HLS into a <video>: Media Source, parts as they are made, no library.

import { asProblem, Problem, problemOfNetwork, problemOfResponse } from "./errors.js";
import { decodeTime, sampleEntries, timescales } from "./fragments.js";
import { parseMedia, parseMultivariant } from "./hls-playlist.js";

const STEER_PERIOD_MS = 200;
/** Nearer to the end than this it has stalled, or is about to: then the distance grows by a step, up to the most. */
const DISTANCE_STEP = 0.3;
const MOST_DISTANCE = 4;
/** Further behind its place it plays a little faster; further still it jumps. */
const SLACK = 0.25;
const JUMP = 4;
const FASTER = 1.08;
/** A hole of media up to so long (of a publisher that was away) is jumped over once the buffer goes on behind it. */
const HOLE_EDGE = 0.1;
/** A browser does not get over pictures that are missing (of a camera that was switched off) while there is sound, but by
    a seek: where so many looks in a row find it waiting for what it has. */
const MOST_STUCK = 5;
const KEPT_SECONDS = 20;
const RETRY_PAUSES_MS = [300, 700, 1_500, 3_000, 5_000, 5_000];
/** Two ways from times to dates that differ by less are the same. */
const SAME_DATE_MS = 40;
const MAX_DATES = 200;

/** The address of a stream's multivariant playlist on this port. */
export function hlsURL(name, token = "") {
    const part = encodeURIComponent(name);
    const url = new URL(`${part}/${part}.m3u8`, document.baseURI);
    if (token) url.searchParams.set("token", token);
    return url.href;
}

export const canPlayHLS = () => typeof (globalThis.ManagedMediaSource ?? globalThis.MediaSource) === "function";

/**
 * Events: "state" when `state` changed, "end" when it gave up (`problem` says why) or the stream ended (`problem` null).
 * States: connecting, connected (media is there), closed. The figures are for a meter.
 */
export class HLSPlayback extends EventTarget {
    state = "connecting";
    problem = null;
    peer = null;
    bytes = 0;
    codecs = [];
    stalls = 0;
    #video;
    #target;
    #aborter = new AbortController();
    #source = new (globalThis.ManagedMediaSource ?? MediaSource)();
    #objectURL = URL.createObjectURL(this.#source);
    #renditions = [];
    #distance = 1;
    #started = false;
    #wanted = false;
    #stuck = 0;
    /** From media time to capture time: `{ time, date }`, in order. */
    #dates = [];
    /** What the server's clock is ahead of ours, in ms, but for the way of an answer. */
    #clockOffset = 0;
    #timer = null;

    /** `target`: `{ url, name }`; `url` is that of the multivariant playlist. */
    constructor(target, video) {
        super();
        this.#target = target;
        this.#video = video;
    }

    async start() {
        const { signal } = this.#aborter;
        try {
            const opened = new Promise(resolve => this.#source.addEventListener("sourceopen", resolve, { once: true }));
            this.#video.srcObject = null;
            this.#video.disableRemotePlayback = true;
            this.#video.src = this.#objectURL;
            this.#video.addEventListener("waiting", () => this.#stalled(), { signal });
            this.#video.addEventListener("error", () => this.#give(problemOfElement(this.#video)), { signal });
            await Promise.all([opened, this.#open()]);
            this.#timer = setInterval(() => this.#steer(), STEER_PERIOD_MS);
            await Promise.all(this.#renditions.map(rendition => this.#follow(rendition)));
            if (!this.#isOver && this.#source.readyState === "open") this.#source.endOfStream();
            if (!this.#isOver) this.#video.addEventListener("ended", () => this.#give(null), { signal, once: true });
        } catch (error) {
            if (!this.#isOver) this.#give(asProblem(error));
        }
    }

    async stop() {
        this.#finish();
    }

    abandon() {
        this.#finish();
    }

    /** Seconds from the capture of the picture that is shown to now; NaN while it is not known. */
    get delay() {
        const time = this.#video.currentTime;
        const known = this.#dates.findLast(entry => entry.time <= time + 0.001);
        if (!this.#started || !known) return NaN;
        return (Date.now() + this.#clockOffset - known.date) / 1000 - (time - known.time);
    }

    /** Seconds of media that are there behind what is shown. */
    get buffered() {
        const { buffered, currentTime } = this.#video;
        return buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
    }

    get #isOver() {
        return this.#aborter.signal.aborted;
    }

    #finish() {
        if (this.#isOver) return;
        this.#aborter.abort();
        clearInterval(this.#timer);
        URL.revokeObjectURL(this.#objectURL);
        if (this.#video.src === this.#objectURL) {
            this.#video.removeAttribute("src");
            this.#video.load();
        }
        this.#video.playbackRate = 1;
        this.#setState("closed");
    }

    #give(problem) {
        if (this.#isOver) return;
        this.#finish();
        this.problem = problem;
        this.dispatchEvent(new Event("end"));
    }

    #setState(state) {
        if (this.state === state) return;
        this.state = state;
        this.dispatchEvent(new Event("state"));
    }

    // Loading

    async #open() {
        const { variants, groups } = parseMultivariant(await this.#text(this.#target.url));
        if (variants.length === 0) throw new Problem("The playlist has nothing to play.");
        const variant = variants.find(each => isPlayable("video", each.codecs)) ?? variants[0];
        this.codecs = variant.codecs;
        if (!isPlayable("video", variant.codecs)) {
            throw new Problem("This browser cannot play the stream by HLS.", {
                detail: `Its codecs are ${variant.codecs.join(" and ")}.`, remedy: "Play it by WebRTC.",
            });
        }
        const add = uri => this.#renditions.push({
            url: new URL(uri, this.#target.url).href, buffer: null, type: "", map: null, scales: new Map(), list: null,
        });
        add(variant.uri);
        const sounds = groups.get(variant.audio) ?? [];
        const sound = sounds.find(each => each.isDefault) ?? sounds[0];
        if (sound) add(sound.uri);
    }

    /** Loads one rendition from near its end on, until it ends. */
    async #follow(rendition) {
        let list = await this.#playlist(rendition);
        this.#distance = Math.max(this.#distance, list.partHoldBack || list.holdBack || 1);
        let position = firstPosition(list);
        const hinted = new Map();
        while (!this.#isOver) {
            for (const item of list.items) {
                if (!isFrom(item, position)) continue;
                if (!item.isGap) await this.#append(rendition, item, hinted);
                position = item.part === null
                    ? { number: item.number + 1, part: 0 } : { number: item.number, part: item.part + 1 };
            }
            if (list.ended) return;
            hinted.clear();
            // Asked for before it exists, it comes the moment it does.
            if (list.hint) hinted.set(list.hint, this.#bytes(new URL(list.hint, rendition.url).href).catch(() => null));
            if (!list.canBlock) await pause(list.target * 500, this.#aborter.signal);
            list = await this.#playlist(rendition, list);
        }
    }

    async #playlist(rendition, before = null) {
        const url = new URL(rendition.url);
        if (before?.canBlock) {
            url.searchParams.set("_HLS_msn", before.next.number);
            if (before.partTarget > 0) url.searchParams.set("_HLS_part", before.next.part);
        }
        if (before?.canSkip) url.searchParams.set("_HLS_skip", "YES");
        return parseMedia(await this.#text(url.href));
    }

    async #append(rendition, item, hinted) {
        if (item.map !== rendition.map) await this.#begin(rendition, item);
        const url = new URL(item.uri, rendition.url).href;
        const data = (await hinted.get(item.uri)) ?? (await this.#bytes(url).catch(error => {
            // It has left the window: what comes next is what counts.
            if (error.status === 404) return null;
            throw error;
        }));
        if (!data || this.#isOver) return;
        this.#date(decodeTime(data, rendition.scales), item.date);
        await this.#put(rendition, data);
        this.#steer();
    }

    /** Another initialisation section: the first one, or the publisher has changed size or codec. */
    async #begin(rendition, item) {
        const data = await this.#bytes(new URL(item.map, rendition.url).href);
        const entries = sampleEntries(data);
        if (rendition.map !== null) {
            const { variants } = parseMultivariant(await this.#text(this.#target.url));
            if (variants.length > 0) this.codecs = variants[0].codecs;
        }
        const codecs = this.codecs.filter(codec => entries.some(entry => codec.toLowerCase().startsWith(entry.toLowerCase())));
        const type = mimeType(codecs.some(isPicture) ? "video" : "audio", codecs);
        rendition.map = item.map;
        rendition.scales = timescales(data);
        if (!rendition.buffer) rendition.buffer = this.#source.addSourceBuffer(type);
        else if (type !== rendition.type) rendition.buffer.changeType(type);
        rendition.type = type;
        await this.#put(rendition, data);
    }

    async #put(rendition, data) {
        const { buffer } = rendition;
        const { currentTime } = this.#video;
        if (buffer.buffered.length > 0 && buffer.buffered.start(0) < currentTime - 2 * KEPT_SECONDS) {
            buffer.remove(0, currentTime - KEPT_SECONDS);
            await done(buffer);
        }
        if (this.#isOver) return;
        buffer.appendBuffer(data);
        await done(buffer);
    }

    /** Answers that say "later", and a network that does not answer, are tried again for a while. */
    async #fetch(url) {
        for (let attempt = 0; ; attempt += 1) {
            let problem;
            try {
                const response = await fetch(url, { signal: this.#aborter.signal, credentials: "same-origin" });
                this.#noteTime(response.headers.get("X-Server-Time"));
                if (response.ok) return response;
                problem = await problemOfResponse(response, { publishing: false, name: this.#target.name });
            } catch (error) {
                if (this.#isOver) throw error;
                problem = problemOfNetwork();
            }
            if (!problem.transient || attempt >= RETRY_PAUSES_MS.length) throw problem;
            await pause(RETRY_PAUSES_MS[attempt], this.#aborter.signal);
        }
    }

    /** Answers that no cache keeps say what time it is; Date is too coarse. */
    #noteTime(text) {
        const time = Number(text ?? NaN);
        if (text && Number.isFinite(time)) this.#clockOffset = time - Date.now();
    }

    async #text(url) {
        return (await this.#fetch(url)).text();
    }

    async #bytes(url) {
        const data = await (await this.#fetch(url)).arrayBuffer();
        this.bytes += data.byteLength;
        return data;
    }

    // Playing

    #date(time, date) {
        if (!Number.isFinite(time) || !Number.isFinite(date)) return;
        const last = this.#dates.at(-1);
        if (last && Math.abs(last.date + (time - last.time) * 1000 - date) < SAME_DATE_MS) return;
        this.#dates.push({ time, date });
        if (this.#dates.length > MAX_DATES) this.#dates.shift();
    }

    #stalled() {
        if (!this.#started || this.state !== "connected") return;
        this.stalls += 1;
        this.#distance = Math.min(MOST_DISTANCE, this.#distance + DISTANCE_STEP);
    }

    /** Keeps the picture at its distance from the end of what is there. */
    #steer() {
        const video = this.#video;
        const { buffered } = video;
        if (this.#isOver || buffered.length === 0) return;
        const end = buffered.end(buffered.length - 1);
        const start = buffered.start(buffered.length - 1);
        if (!this.#started) {
            if (end - start < this.#distance) return;
            this.#started = true;
            video.currentTime = Math.max(start, end - this.#distance);
            this.#setState("connected");
            return;
        }
        const behind = end - video.currentTime;
        const isInHole = video.currentTime < start && !isBuffered(buffered, video.currentTime + HOLE_EDGE);
        const isWaiting = video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && !video.seeking && behind > SLACK;
        this.#stuck = isWaiting ? this.#stuck + 1 : 0;
        if (isInHole || this.#stuck >= MOST_STUCK || behind > this.#distance + JUMP) {
            this.#stuck = 0;
            // Never back: what has been seen is not shown again, however far the distance has grown.
            video.currentTime = Math.max(start, video.currentTime, end - this.#distance);
        }
        video.playbackRate = behind > this.#distance + SLACK ? FASTER : 1;
    }
}

/** Where to begin: at the last key frame that is far enough from the end. */
function firstPosition(list) {
    const holdBack = list.partHoldBack || list.holdBack || 3 * list.target;
    let fromEnd = 0;
    for (let index = list.items.length - 1; index >= 0; index -= 1) {
        const item = list.items[index];
        fromEnd += item.duration;
        if (fromEnd >= holdBack && item.isIndependent && !item.isGap) return { number: item.number, part: item.part ?? 0 };
    }
    const first = list.items[0];
    return first ? { number: first.number, part: first.part ?? 0 } : list.next;
}

function isFrom(item, position) {
    return item.number > position.number || (item.number === position.number && (item.part ?? 0) >= position.part);
}

function isBuffered(ranges, time) {
    for (let index = 0; index < ranges.length; index += 1) {
        if (ranges.start(index) <= time && time < ranges.end(index)) return true;
    }
    return false;
}

const isPicture = codec => /^(avc|hvc|hev|vp0|av01)/.test(codec);

function mimeType(kind, codecs) {
    // As sample entries write it and as browsers want it.
    const names = codecs.map(codec => (codec === "Opus" ? "opus" : codec));
    return `${kind}/mp4; codecs="${names.join(",")}"`;
}

function isPlayable(kind, codecs) {
    return (globalThis.ManagedMediaSource ?? MediaSource).isTypeSupported(mimeType(kind, codecs));
}

function done(buffer) {
    return new Promise((resolve, reject) => {
        buffer.addEventListener("updateend", resolve, { once: true });
        buffer.addEventListener("error", () => reject(new Problem("The browser could not read the stream.")), { once: true });
    });
}

function pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, milliseconds);
        signal.addEventListener("abort", () => {
            clearTimeout(timer);
            reject(signal.reason);
        }, { once: true });
    });
}

function problemOfElement(video) {
    return new Problem("The browser could not play the stream.", {
        detail: video.error?.message ?? "", remedy: "Play it by WebRTC, or in another browser.",
    });
}

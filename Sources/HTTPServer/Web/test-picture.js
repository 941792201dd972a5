// A moving picture with a clock, and a soft tone each second: a source that needs neither devices nor permission.

import { clockText, drawTestPattern } from "./test-pattern.js";

const NOTES_HZ = [392, 440, 523.25, 440];
const TONE_LEVEL = 0.2;
const TONE_DECAY_SECONDS = 0.35;
/** Never quite silent, so that meters and tests see sound at any moment. */
const HUM_LEVEL = 0.01;

export class TestPicture {
    stream = new MediaStream();
    #worker = new Worker(new URL("./test-picture-worker.js", import.meta.url), { type: "module" });
    #settings;
    #audio = null;

    /** `settings`: { width, height, frameRate, name }. */
    constructor(settings) {
        this.#settings = { beatOrigin: null, ...settings };
        const track = this.#startInWorker() ?? this.#startInPage();
        this.stream.addTrack(track);
    }

    rename(name) {
        this.#settings.name = name;
        this.#worker.postMessage({ settings: { name } });
    }

    /** Drawing wholly in the worker goes on at full rate while this page is hidden. */
    #startInWorker() {
        if (!globalThis.MediaStreamTrackGenerator || !globalThis.VideoFrame || !globalThis.OffscreenCanvas) return null;
        const track = new MediaStreamTrackGenerator({ kind: "video" });
        this.#worker.postMessage({ settings: this.#settings, writable: track.writable }, [track.writable]);
        return track;
    }

    #startInPage() {
        const canvas = document.createElement("canvas");
        const context = canvas.getContext("2d", { alpha: false });
        const begin = performance.now();
        const draw = frame => {
            const { width, height, name, beatOrigin } = this.#settings;
            if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
            const seconds = (performance.now() - begin) / 1000;
            const origin = beatOrigin === null ? begin : beatOrigin - performance.timeOrigin;
            const beat = (((performance.now() - origin) / 1000) % 1 + 1) % 1;
            drawTestPattern(context, { width, height, seconds, beat, frame, name, clock: clockText(new Date()) });
        };
        draw(0);
        this.#worker.onmessage = ({ data }) => draw(data.frame);
        this.#worker.postMessage({ settings: this.#settings });
        return canvas.captureStream(this.#settings.frameRate).getVideoTracks()[0];
    }

    /** Adds the tone. Call it from a click: browsers keep audio silent before. */
    async startTone() {
        if (this.#audio) return;
        const context = new AudioContext();
        this.#audio = context;
        await context.resume();
        const destination = context.createMediaStreamDestination();
        const source = context.createBufferSource();
        // A loop keeps time by the audio clock, with no timer that a hidden page would lose.
        source.buffer = makeTones(context);
        source.loop = true;
        source.connect(destination);
        source.start();
        this.stream.addTrack(destination.stream.getAudioTracks()[0]);
        const beatOrigin = performance.timeOrigin + performance.now();
        this.#settings.beatOrigin = beatOrigin;
        this.#worker.postMessage({ settings: { beatOrigin } });
    }

    stop() {
        for (const track of this.stream.getTracks()) track.stop();
        this.#worker.postMessage({ stop: true });
        void this.#audio?.close();
    }
}

function makeTones(context) {
    const rate = context.sampleRate;
    const buffer = context.createBuffer(1, rate * NOTES_HZ.length, rate);
    const samples = buffer.getChannelData(0);
    for (let index = 0; index < samples.length; index += 1) {
        const second = Math.floor(index / rate);
        const time = (index % rate) / rate;
        // A rise of 5 ms instead of a step, which would click.
        const level = TONE_LEVEL * Math.min(1, time / 0.005) * Math.exp(-time / TONE_DECAY_SECONDS);
        samples[index] = level * Math.sin(2 * Math.PI * NOTES_HZ[second] * time)
            + HUM_LEVEL * Math.sin(2 * Math.PI * 110 * (index / rate));
    }
    return buffer;
}

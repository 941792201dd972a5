// HLS as the browser itself plays it (Safari, Chromium 142 and newer), and the figures of any HLS playback.

import { Problem } from "./errors.js";

/** Chromium's player gives up where pictures are missing for two seconds, as when a camera is switched off; begun anew it
    goes on as soon as that is behind it. */
const RESTART_PAUSE_MS = 1_000;
const MOST_RESTARTS = 8;
/** Who has played so long since is well again. */
const WELL_SECONDS = 10;

export const canPlayNatively = () =>
    document.createElement("video").canPlayType("application/vnd.apple.mpegurl") !== "";

/** As HLSPlayback, with the browser's own player. */
export class NativePlayback extends EventTarget {
    state = "connecting";
    problem = null;
    peer = null;
    bytes = NaN;
    codecs = [];
    stalls = 0;
    #video;
    #url;
    #restarts = 0;
    #timer = null;
    #aborter = new AbortController();

    /** `target`: `{ url, name }`; `url` is that of the multivariant playlist. */
    constructor(target, video) {
        super();
        this.#video = video;
        this.#url = target.url;
    }

    async start() {
        const { signal } = this.#aborter;
        const video = this.#video;
        video.srcObject = null;
        video.addEventListener("loadeddata", () => this.#setState("connected"), { signal });
        video.addEventListener("waiting", () => {
            if (this.state === "connected") this.stalls += 1;
        }, { signal });
        video.addEventListener("ended", () => this.#give(null), { signal });
        video.addEventListener("error", () => this.#failed(), { signal });
        this.#load();
    }

    #load() {
        const video = this.#video;
        video.src = this.#url;
        // Left to `autoplay`, Chromium 156 begins as if after a pause: it then asks for segments newer than all it has, and
        // gives up if there are none yet. Where sound may not begin by itself it stays as it is.
        if (video.autoplay) video.play().catch(() => {});
    }

    #failed() {
        const video = this.#video;
        if (video.currentTime > WELL_SECONDS) this.#restarts = 0;
        if (this.state === "connected" && this.#restarts < MOST_RESTARTS) {
            this.#restarts += 1;
            this.stalls += 1;
            this.#timer = setTimeout(() => this.#load(), RESTART_PAUSE_MS);
            return;
        }
        this.#give(new Problem("The browser could not play the stream.", {
            detail: video.error?.message ?? "", remedy: "Play it by WebRTC.", transient: true,
        }));
    }

    async stop() {
        if (this.#aborter.signal.aborted) return;
        this.#aborter.abort();
        clearTimeout(this.#timer);
        this.#video.removeAttribute("src");
        this.#video.load();
        this.#setState("closed");
    }

    abandon() {
        void this.stop();
    }

    /** Seconds since the capture of the picture that is shown; only Safari tells what time it was. */
    get delay() {
        const start = this.#video.getStartDate?.().getTime() ?? NaN;
        return (Date.now() - start) / 1000 - this.#video.currentTime;
    }

    get buffered() {
        const { buffered, currentTime } = this.#video;
        return buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
    }

    #setState(state) {
        if (this.state === state) return;
        this.state = state;
        this.dispatchEvent(new Event("state"));
    }

    #give(problem) {
        if (this.#aborter.signal.aborted) return;
        void this.stop();
        this.problem = problem;
        this.dispatchEvent(new Event("end"));
    }
}

const NAMES = { avc1: "H264", avc3: "H264", hvc1: "H265", hev1: "H265", vp09: "VP9", av01: "AV1", opus: "opus", mp4a: "AAC" };

/** The readings of a StatsView for HLS; see Meter. */
export class HLSMeter {
    #playback;
    #video;
    #last = null;

    constructor(playback, video) {
        this.#playback = playback;
        this.#video = video;
    }

    async read() {
        const { frames, dropped } = this.#frames();
        const now = { at: performance.now(), bytes: this.#playback.bytes, frames };
        const before = this.#last;
        this.#last = now;
        const rate = field => (before ? (now[field] - before[field]) * 1000 / (now.at - before.at) : NaN);
        const names = this.#playback.codecs.map(codec => NAMES[codec.split(".")[0].toLowerCase()] ?? codec);
        const [sound] = names.filter(name => name === "opus" || name === "AAC");
        const [picture] = names.filter(name => name !== sound);
        const hasPicture = picture !== undefined || this.#video.videoWidth > 0;
        const bitrate = rate("bytes") * 8;
        return {
            videoBitrate: hasPicture ? bitrate : NaN, audioBitrate: hasPicture ? NaN : bitrate, frameRate: rate("frames"),
            width: this.#video.videoWidth, height: this.#video.videoHeight, videoCodec: picture ?? null,
            audioCodec: sound ?? null, loss: NaN, roundTrip: NaN, jitter: NaN, freezes: this.#playback.stalls,
            frozenSeconds: NaN, bufferDelay: this.#playback.buffered, limitation: null, nacks: NaN, keyFrameRequests: NaN,
            framesDropped: dropped, frames, delay: this.#playback.delay,
            // Whether anything comes is told by what has been loaded, or where the browser does not tell, by what plays.
            packets: Number.isFinite(now.bytes) ? now.bytes : Math.floor(this.#video.currentTime * 10),
            path: "HLS",
        };
    }

    #frames() {
        const quality = this.#video.getVideoPlaybackQuality?.();
        return { frames: quality?.totalVideoFrames ?? 0, dropped: quality?.droppedVideoFrames ?? 0 };
    }
}

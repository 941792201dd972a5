// Players of numbered pictures (the geometry of numbered_clip.py) by HLS: the browser's own and that of the server's page.

import { NativePlayback } from "/web/hls-native.js";
import { HLSPlayback } from "/web/hls-player.js";

const COLUMNS = 8;
const ROWS = 3;
const NUMBER_BITS = 16;
const BLOCKS_END = 0.6;
// Pictures are read at this size: what is asked for is a few pixels of each block.
const WIDTH = 64;
const HEIGHT = 60;

const players = new Map();

/** The number in what a video shows, or null. */
function readNumber(context, video) {
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    let word = 0;
    for (let block = 0; block < COLUMNS * ROWS; block += 1) {
        const x = Math.floor(WIDTH * (block % COLUMNS + 0.5) / COLUMNS);
        const y = Math.floor(HEIGHT * BLOCKS_END * (Math.floor(block / COLUMNS) + 0.5) / ROWS);
        word |= Number(data[(y * WIDTH + x) * 4 + 1] > 128) << block;
    }
    const number = word & (1 << NUMBER_BITS) - 1;
    const check = ((number & 255) * 3 + (number >> 8) * 5 + 91) & 255;
    return word >>> NUMBER_BITS === check ? number : null;
}

/** Notes every picture that is shown: its number, its time in the media, and when it was shown, in seconds since 1970. */
function watch(video) {
    const notes = { numbers: [], times: [], shown: [], widths: [] };
    const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const onFrame = (_, { mediaTime, presentationTime }) => {
        notes.numbers.push(readNumber(context, video));
        notes.times.push(mediaTime);
        notes.shown.push((performance.timeOrigin + presentationTime) / 1000);
        notes.widths.push(video.videoWidth);
        video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    return notes;
}

window.app = {
    /** `native`: by the browser's own player; `rate`: how fast, where all is there already. */
    play(key, url, native, rate = 1) {
        const video = document.createElement("video");
        Object.assign(video, { autoplay: true, muted: true, playsInline: true, defaultPlaybackRate: rate });
        // Its pictures are read.
        video.crossOrigin = "anonymous";
        document.getElementById("videos").append(video);
        const player = { video, notes: watch(video), ended: false, end: null, problem: null };
        player.playback = new (native ? NativePlayback : HLSPlayback)({ url, name: key }, video);
        player.playback.addEventListener("end", () => {
            player.ended = true;
            const { problem } = player.playback;
            player.problem = problem && `${problem.message} ${problem.detail ?? ""}`;
        });
        video.addEventListener("ended", () => {
            player.ended = true;
            // The playback lets go of the video next.
            player.end = video.currentTime;
        });
        players.set(key, player);
        void player.playback.start();
    },
    /** What was shown so far, and where the player is. */
    told(key) {
        const { video, notes, ended, end, problem, playback } = players.get(key);
        return {
            ...notes, ended, end, problem, time: video.currentTime, width: video.videoWidth, stalls: playback.stalls,
            sound: video.webkitAudioDecodedByteCount ?? 0, duration: Number.isFinite(video.duration) ? video.duration : null,
            state: `${video.readyState} ${video.networkState} ${playback.state}`,
        };
    },
    async stop(key) {
        const { playback, video } = players.get(key);
        players.delete(key);
        await playback.stop();
        video.remove();
    },
    wcsViolations: () => [],
    ready: true,
};

// A function, evaluated in a page of the server's origin: reads the numbers (numbered_clip.py) of a recorded file's
// pictures at those shares of its length, then plays its end.

async ([url, shares, tailSeconds]) => {
    const COLUMNS = 8;
    const ROWS = 3;
    const NUMBER_BITS = 16;
    const BLOCKS_END = 0.6;
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d", { willReadFrequently: true });

    /** The number in what a video shows, or null. */
    function readNumber(video) {
        Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
        context.drawImage(video, 0, 0);
        let word = 0;
        for (let block = 0; block < COLUMNS * ROWS; block += 1) {
            const x = canvas.width * (block % COLUMNS + 0.5) / COLUMNS;
            const y = canvas.height * BLOCKS_END * (Math.floor(block / COLUMNS) + 0.5) / ROWS;
            const [, green] = context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data;
            word |= Number(green > 128) << block;
        }
        const number = word & (1 << NUMBER_BITS) - 1;
        const check = ((number & 255) * 3 + (number >> 8) * 5 + 91) & 255;
        return word >>> NUMBER_BITS === check ? number : null;
    }

    function until(video, event, limitMs = 15000) {
        return new Promise((resolve, reject) => {
            video.addEventListener(event, resolve, { once: true });
            video.addEventListener("error", () => reject(new Error(video.error?.message)), { once: true });
            setTimeout(() => reject(new Error(`no ${event}`)), limitMs);
        });
    }

    const video = document.createElement("video");
    video.muted = true;
    video.src = url;
    document.body.append(video);
    await until(video, "loadeddata");
    const facts = { duration: video.duration, width: video.videoWidth, sought: [] };
    let shownAt = null;
    const watch = (_, { mediaTime }) => {
        shownAt = mediaTime;
        video.requestVideoFrameCallback(watch);
    };
    video.requestVideoFrameCallback(watch);
    /** The picture of a sought time may be drawn some time after the seek is over. */
    const seekTo = async time => {
        const sought = until(video, "seeked");
        video.currentTime = time;
        await sought;
        const end = performance.now() + 3000;
        while ((shownAt === null || Math.abs(shownAt - time) > 0.5) && performance.now() < end) {
            await new Promise(resolve => setTimeout(resolve, 20));
        }
    };
    for (const share of shares) {
        await seekTo(video.duration * share);
        facts.sought.push([video.currentTime, readNumber(video)]);
    }
    await seekTo(Math.max(0, video.duration - tailSeconds));
    const ended = until(video, "ended", tailSeconds * 1000 + 15000);
    await video.play();
    await ended;
    Object.assign(facts, { end: video.currentTime, last: readNumber(video) });
    video.remove();
    return facts;
}

// Sound of two channels that can be told apart, made and measured.

const TONE_LEVEL = 0.3;
const ANALYSED_SAMPLES = 2048;

/** A stream with a tone of that many Hz on either channel; 0 leaves the channel silent. */
export function toneStream({ left, right }) {
    const context = new AudioContext();
    const merger = context.createChannelMerger(2);
    [left, right].forEach((frequency, channel) => {
        if (frequency === 0) return;
        const gain = context.createGain();
        gain.gain.value = TONE_LEVEL;
        const oscillator = context.createOscillator();
        oscillator.frequency.value = frequency;
        oscillator.connect(gain).connect(merger, 0, channel);
        oscillator.start();
    });
    const destination = context.createMediaStreamDestination();
    destination.channelCount = 2;
    merger.connect(destination);
    return destination.stream;
}

/** A function that tells the level (root mean square, 1 is full scale) of the left and the right channel now. */
export function channelMeter(stream) {
    const context = new AudioContext();
    const splitter = context.createChannelSplitter(2);
    context.createMediaStreamSource(stream).connect(splitter);
    const analysers = [0, 1].map(channel => {
        const analyser = context.createAnalyser();
        analyser.fftSize = ANALYSED_SAMPLES;
        splitter.connect(analyser, channel);
        return analyser;
    });
    return () => analysers.map(analyser => {
        const samples = new Float32Array(analyser.fftSize);
        analyser.getFloatTimeDomainData(samples);
        return Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length);
    });
}

/** Adds parameters to the format of Opus (RFC 7587 section 6.1), for example "stereo=1;sprop-stereo=1". */
export function withOpusParameters(sdp, parameters) {
    const [, payloadType] = /^a=rtpmap:(\d+) opus\//im.exec(sdp);
    return sdp.replace(new RegExp(`^(a=fmtp:${payloadType} .*?)(\r?)$`, "m"), `$1;${parameters}$2`);
}

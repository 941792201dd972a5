// Opens what is to be published: camera, screen or test picture.

import { Problem, problemOfCapture, problemOfInsecurePage } from "./errors.js";
import { TestPicture } from "./test-picture.js";

export const canCaptureDevices = () => Boolean(navigator.mediaDevices?.getUserMedia);
export const canCaptureScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/**
 * Resolves with { source, stream, hasMicrophone, prepareSound(), rename(name), stop() }; throws a Problem.
 * `wish`: { source, width, height, frameRate, hasSound, cameraId, microphoneId, name }.
 */
export async function openCapture(wish) {
    if (wish.source === "test") return openTestPicture(wish);
    if (!window.isSecureContext) throw problemOfInsecurePage();
    if (wish.source === "screen" && !canCaptureScreen()) {
        throw new Problem("This browser cannot share the screen.", {
            remedy: "Phones mostly cannot. Use a desktop browser, or the camera.",
        });
    }
    if (!canCaptureDevices()) {
        throw new Problem("This browser gives pages no camera.", { remedy: "Use a current Chrome, Edge, Firefox or Safari." });
    }
    try {
        return wish.source === "screen" ? await openScreen(wish) : await openCamera(wish);
    } catch (error) {
        throw problemOfCapture(error, wish.source);
    }
}

function openTestPicture({ width, height, frameRate, hasSound, name }) {
    const picture = new TestPicture({ width, height, frameRate, name });
    return {
        source: "test", stream: picture.stream, hasMicrophone: false,
        prepareSound: async () => (hasSound ? picture.startTone() : undefined),
        rename: newName => picture.rename(newName),
        stop: () => picture.stop(),
    };
}

async function openCamera({ width, height, frameRate, hasSound, cameraId, microphoneId }) {
    const stream = await navigator.mediaDevices.getUserMedia({
        video: {
            width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate },
            ...(cameraId ? { deviceId: { exact: cameraId } } : {}),
        },
        audio: hasSound
            ? { echoCancellation: true, noiseSuppression: true, ...(microphoneId ? { deviceId: { exact: microphoneId } } : {}) }
            : false,
    });
    return deviceCapture("camera", stream, stream.getAudioTracks().length > 0);
}

async function openScreen({ width, height, frameRate, hasSound }) {
    const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { width: { max: width }, height: { max: height }, frameRate: { ideal: frameRate } },
        audio: hasSound,
    });
    // Text has to stay sharp: fewer frames rather than fewer pixels when bandwidth is short.
    for (const track of stream.getVideoTracks()) track.contentHint = "detail";
    return deviceCapture("screen", stream, false);
}

function deviceCapture(source, stream, hasMicrophone) {
    return {
        source, stream, hasMicrophone,
        prepareSound: async () => {},
        rename: () => {},
        stop: () => stream.getTracks().forEach(track => track.stop()),
    };
}

/** Cameras and microphones by name; names are empty until the person has allowed capturing once. */
export async function listDevices() {
    const all = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
    const of = kind => all.filter(device => device.kind === kind && device.deviceId !== "");
    return { cameras: of("videoinput"), microphones: of("audioinput") };
}

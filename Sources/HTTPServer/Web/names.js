// Stream names: what the server accepts, said in words, and suggestions that are easy to say aloud.

const NAME_LIMIT_BYTES = 255;

/** A file of the server that is played as a stream. */
const FILE_NAME = /^vod(-live)?:\/\/./;

/**
 * Why the server would refuse this name, as a sentence for people; null when the name is fine.
 * `playable`: the name is to be played, so that it may be that of a file (vod://file.mp4).
 */
export function nameFault(name, playable = false) {
    if (name === "") return "Enter a stream name.";
    if (new TextEncoder().encode(name).length > NAME_LIMIT_BYTES) {
        return `The name is too long: at most ${NAME_LIMIT_BYTES} bytes in UTF-8.`;
    }
    if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(name)) return "The name holds a control character. Remove it.";
    if (playable && FILE_NAME.test(name)) return null;
    if (name.includes("://")) return "A URL is not a stream name. Enter the name only, for example lobby.";
    const unsafe = name.match(/[/\\?#]/);
    if (unsafe) return `The character ${unsafe[0]} is not allowed in a name. Use letters, digits, - and _ .`;
    if (name === "." || name === "..") return "A name made of dots only is not allowed.";
    return null;
}

const QUALITIES = ["calm", "clear", "bright", "quiet", "silver", "swift", "gentle", "amber", "blue", "early"];
const THINGS = ["river", "brook", "lake", "harbour", "delta", "meadow", "valley", "bridge", "mill", "spring"];

export function suggestName() {
    const pick = list => list[Math.floor(Math.random() * list.length)];
    return `${pick(QUALITIES)}-${pick(THINGS)}-${10 + Math.floor(Math.random() * 90)}`;
}

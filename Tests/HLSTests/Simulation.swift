import HLS
import MediaFormats
import Wire

/// A publisher in virtual time: pictures and sound as they come over a network, with whatever goes wrong on the way.
struct Publisher {
    struct Frame {
        var frame: MediaFrame
        var arrival: Interval
    }

    var hasVideo = true
    var hasAudio = true
    /// Between pictures, and by how much each is off.
    var interval = Interval.microseconds(33_333)
    var jitter = Interval.zero
    /// Pictures left out at random, in percent.
    var drops = 0
    /// Key frames come after so many pictures by themselves.
    var group = 3_000
    /// A key frame comes so long after it was asked for; nil: the publisher does not listen.
    var answer: Interval? = .milliseconds(80)
    /// How much longer sound is under way than pictures.
    var soundDelay = Interval.zero
    /// Times at which nothing is sent, from and to.
    var videoPause: Range<Interval>?
    var audioPause: Range<Interval>?

    /// Everything that is sent in `duration`, in the order of arrival. Key frames are only those of `group`: the runner
    /// makes one of the picture that answers a request.
    func frames(_ duration: Interval, seed: UInt64 = 1) -> [Frame] {
        var dice = Dice(seed)
        var all: [Frame] = []
        if hasVideo {
            var number = 0
            var time = Interval.zero
            while time < duration {
                let off = jitter > .zero ? Int64.random(in: 0...jitter.nanoseconds, using: &dice) : 0
                let at = time + .nanoseconds(off)
                let isKey = number % group == 0
                let isDropped = !isKey && drops > 0 && Int.random(in: 0..<100, using: &dice) < drops
                if !isDropped, videoPause?.contains(at) != true {
                    let frame = Clip.picture(number, at: at, isKey: isKey)
                    all.append(Frame(frame: frame, arrival: at))
                }
                number += 1
                time = time + interval
            }
        }
        if hasAudio {
            var number = 0
            var time = Interval.milliseconds(7)
            while time < duration {
                if audioPause?.contains(time) != true {
                    all.append(
                        Frame(frame: Clip.sound(number, at: time, track: hasVideo ? 1 : 0), arrival: time + soundDelay))
                }
                number += 1
                time = time + .milliseconds(20)
            }
        }
        return all.sorted { $0.arrival < $1.arrival }
    }

    var tracks: [TrackDescription] { (hasVideo ? [Clip.h264] : []) + (hasAudio ? [Clip.opus] : []) }
}

/// What came of it.
struct Segmented {
    struct Segment {
        var start: Segmenter.SegmentStart
        var parts: [Segmenter.Part] = []
        var duration: Interval { parts.reduce(.zero) { $0 + $1.duration } }
    }

    var segments: [Segment] = []
    /// When each part was given out, and the end of its span: what comes between is the delay of segmenting.
    var delays: [Interval] = []
    var requests = 0
    var longGroups: [Bool] = []
    var counts = Segmenter.Counts()
    /// Key frames that were sent.
    var keyFrames = 0
    var open = false

    func samples(_ track: Int) -> [Sample] { segments.flatMap { $0.parts.flatMap { $0.samples[track] } } }

    mutating func take(_ events: [Segmenter.Event], now: Interval, streamStart: Interval) {
        for event in events {
            switch event {
            case .beginSegment(let start):
                precondition(!open, "a segment begins in the midst of another")
                open = true
                segments.append(Segment(start: start))
            case .part(let part):
                precondition(open, "a part without a segment")
                segments[segments.count - 1].parts.append(part)
                delays.append(now - streamStart - (part.start + part.duration))
            case .endSegment:
                precondition(open, "the end of no segment")
                open = false
            case .needKeyFrame: requests += 1
            case .longGroups(let are): longGroups.append(are)
            }
        }
    }
}

func segment(
    _ publisher: Publisher, for duration: Interval, settings: Segmenter.Settings = .init(), seed: UInt64 = 1,
    change: (inout MediaFrame) -> Void = { _ in }
) -> Segmented {
    var segmenter = Segmenter(tracks: publisher.tracks, settings: settings, unixTimeAtZero: 1_700_000_000_000_000_000)
    var result = Segmented()
    var asked: Interval?
    var nextTick = Interval.zero
    for var item in publisher.frames(duration, seed: seed) {
        while nextTick <= item.arrival {
            let before = result.requests
            result.take(segmenter.advance(now: .at(nextTick)), now: nextTick, streamStart: .zero)
            if result.requests > before, asked == nil { asked = nextTick }
            nextTick = nextTick + .milliseconds(100)
        }
        if item.frame.track == 0, publisher.hasVideo {
            if let at = asked, let answer = publisher.answer, item.arrival - at >= answer {
                item.frame = item.frame.isKeyFrame ? item.frame : keyFrame(item.frame)
                asked = nil
            }
            if item.frame.isKeyFrame { result.keyFrames += 1 }
        }
        change(&item.frame)
        let before = result.requests
        result.take(segmenter.append(item.frame, now: .at(item.arrival)), now: item.arrival, streamStart: .zero)
        if result.requests > before, asked == nil { asked = item.arrival }
    }
    result.take(segmenter.finish(), now: duration, streamStart: .zero)
    result.counts = segmenter.counts
    return result
}

/// The same picture as a key frame.
func keyFrame(_ frame: MediaFrame) -> MediaFrame {
    var key = frame
    key.data = [0, 0, 0, 1] + Clip.sps + [0, 0, 0, 1] + Clip.pps + frame.data
    key.data[8 + Clip.sps.count + Clip.pps.count + 4] = 0x65
    key.isKeyFrame = true
    key.size = Clip.size
    key.parameterSets = [Clip.sps, Clip.pps]
    return key
}

/// Number that the publisher gave the picture.
func number(_ sample: Sample) -> Int {
    // The slice is the last NAL unit; its header is followed by three bytes.
    var at = sample.data.count - 4
    while at > 0, !(sample.data[at..<(at + 4)].elementsEqual([0, 0, 0, 1])) { at -= 1 }
    return sample.data[(at + 5)...(at + 7)].reduce(0) { $0 << 7 | Int($1 & 0x7f) }
}

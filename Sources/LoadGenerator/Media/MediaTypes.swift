import Wire

/// What the media threads of a load do.
package struct MediaPlan: Sendable {
    /// Sent by every publisher.
    package var video: Clip?
    package var audio: Clip?
    /// Offered to the server; it chooses.
    package var profiles: [SRTPProfile] = [.aes128CMHMACSHA1_80]
    /// Streams that exist at most: publishers are numbered from 0.
    package var maxStreams = 1
    /// Share of the RTP packets that players throw away as if the network had lost them, 0…1.
    package var loss = 0.0
    /// Every player asks for a key frame this often, whether it needs one or not.
    package var keyFrameRequestInterval: Interval?
    package var threads = 1
    /// Processor (index in the affinity mask) of the first media thread; nil: not pinned.
    package var firstProcessor: Int?
    /// Times the bitrate: what a picture's packets are spread at, as libwebrtc's pacer does.
    package var pacingFactor = 2.5
    package var seed: UInt64 = 1

    package init(video: Clip?, audio: Clip?) {
        self.video = video
        self.audio = audio
    }
}

/// Why a client of the load could not do its part.
package enum LoadError: Error, Sendable, CustomStringConvertible {
    case badAnswer(String)
    case noCandidate
    case socket(String, code: CInt)
    case timedOut(stage: String)
    case dtls(String)
    case ended(String)

    package var description: String {
        switch self {
        case .badAnswer(let why): "the server's answer cannot be used: \(why)"
        case .noCandidate: "the server's answer has no UDP candidate with an IP address"
        case .socket(let operation, let code): "\(operation): error \(code)"
        case .timedOut(let stage): "timed out: \(stage)"
        case .dtls(let why): "DTLS failed: \(why)"
        case .ended(let why): "ended: \(why)"
        }
    }
}

/// Milliseconds since the answer was there.
package struct JoinTimes: Sendable {
    /// First check answered.
    package var ice: Double
    /// SRTP keys known.
    package var dtls: Double
    /// Players: the first key frame is whole (the first packet, when there is no video). Publishers: as `dtls`.
    package var media: Double
}

/// Percentiles in milliseconds.
package struct DelaySummary: Sendable, Codable {
    package var count: Int
    package var p50: Double
    package var p90: Double
    package var p99: Double
    package var p999: Double
    package var max: Double
}

/// What the measured players received of the packets that were sent in one window of time.
package struct MediaWindow: Sendable, Codable {
    package var seconds: Double
    package var players: Int
    /// By all publishers, RTX and padding not counted.
    package var packetsSent: Int
    /// What the players would have received without any loss.
    package var packetsExpected: Int
    /// Each once, whether at first or by retransmission.
    package var packetsDelivered: Int
    package var packetsLost: Int
    /// Numbers that never came, in the players' own sequences, over their whole life.
    package var sequenceGaps: Int
    package var duplicates: Int
    /// Thrown away on purpose.
    package var injectedLosses: Int
    /// Numbers asked for by NACK, repetitions included.
    package var nacks: Int
    /// Missing packets that came after all.
    package var recovered: Int
    package var authenticationFailures: Int
    package var keyFramesSent: Int
    /// Datagrams that the kernel dropped since this program did not read fast enough: the run tells nothing.
    package var receiveBufferDrops: Int
    /// Players that got a track without a single mark of ours: something on the way re-encodes it.
    package var unmarkedPlayers: Int
    /// Share of its packets that each player lost.
    package var lossOfPlayers: [Double]
    /// Kernel's arrival time less the sending of the picture's last packet; earlier packets count as 0 at least.
    package var videoDelay: DelaySummary
    package var audioDelay: DelaySummary
    /// Of the media threads.
    package var generatorCPUSeconds: Double
}

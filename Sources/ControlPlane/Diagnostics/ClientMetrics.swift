/// The last WebRTC statistics that a client sent of one of its streams (signalling 6.5).
struct ClientMetrics: Sendable {
    static let maxHeaders = 1_024
    static let maxHeaderCharacters = 200
    static let maxValueCharacters = 64

    /// `TYPE.ID.METRIC`, in the order of the values.
    private let headers: [String]
    private var values: [String]
    private(set) var samples = 0

    /// nil if the description cannot be one.
    init?(headers text: String) {
        let names = text.split(separator: ",", omittingEmptySubsequences: false)
        guard !text.isEmpty, names.count <= Self.maxHeaders,
            names.allSatisfy({ !$0.isEmpty && $0.count <= Self.maxHeaderCharacters })
        else { return nil }
        headers = names.map { JournalText.clean(String($0)) }
        values = Array(repeating: "", count: headers.count)
    }

    /// Takes one sample: values separated by `;`, in the order of the headers; an empty one is as the last time.
    mutating func take(_ sample: String) {
        let given = sample.split(separator: ";", omittingEmptySubsequences: false)
        guard given.count == headers.count else { return }
        for (index, value) in given.enumerated() where !value.isEmpty {
            values[index] = JournalText.clean(String(value.prefix(Self.maxValueCharacters)))
        }
        samples += 1
    }

    /// `TYPE.ID.METRIC=VALUE`
    var lines: [String] {
        samples == 0 ? [] : zip(headers, values).filter { !$1.isEmpty }.map { "\($0)=\($1)" }
    }
}

/// What a client is told about the statistics that it shall send.
package enum ClientMetricsDescription {
    /// `webRTCMetricsServerDescription` of `getUserData`: what matters of sound and picture, every two seconds, as text
    /// on the signalling socket.
    package static let json = JSONText(
        """
        {"types":{"inbound-rtp":{"metrics":"packetsReceived,packetsLost,bytesReceived,jitter,framesDecoded,\
        framesDropped,freezeCount,nackCount,pliCount","contains":{}},\
        "outbound-rtp":{"metrics":"packetsSent,bytesSent,framesEncoded,nackCount,pliCount,\
        qualityLimitationReason","contains":{}},\
        "candidate-pair":{"metrics":"state,currentRoundTripTime,availableOutgoingBitrate","contains":{}}},\
        "sampling":2000,"batchSize":5,"collect":"on","compression":"none"}
        """)
}

extension ClientSession {
    /// The client tells what the values of its samples are. Only for streams that it has.
    package func describeMetrics(mediaSessionId: String, headers: String) {
        guard streams[mediaSessionId] != nil else { return }
        clientMetrics[mediaSessionId] = ClientMetrics(headers: headers)
    }

    /// Samples of a stream. Ones that are compressed, which was not offered, are not looked at.
    package func takeMetrics(mediaSessionId: String, samples: [String]) {
        guard streams[mediaSessionId] != nil else { return }
        for sample in samples { clientMetrics[mediaSessionId]?.take(sample) }
        if let debugLog, let metrics = clientMetrics[mediaSessionId] {
            debugLog.append("metrics \(JournalText.clean(mediaSessionId)) \(metrics.lines.joined(separator: " "))")
        }
    }
}

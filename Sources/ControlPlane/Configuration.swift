/// Settings of the control plane.
package struct ControlConfiguration: Sendable {
    package static let defaultAppKey = "defaultApp"

    /// Bounds of what clients may hold at one time.
    package struct Limits: Hashable, Sendable {
        package var sessions: Int
        /// Per IPv4 address or IPv6 /64.
        package var sessionsPerAddress: Int
        /// Published streams in all.
        package var streams: Int
        /// Players in all.
        package var players: Int
        package var playersPerStream: Int
        /// Publishers and players of one session together.
        package var streamsPerSession: Int
        /// Media packets per second that the server may send; 0 = no limit.
        package var packetRate: Int
        /// Percent of the processors that this process may use; 0 = no limit.
        package var cpu: Int

        package init(
            sessions: Int = 10_000, sessionsPerAddress: Int = 1_000, streams: Int = 1_000, players: Int = 10_000,
            playersPerStream: Int = 10_000, streamsPerSession: Int = 100, packetRate: Int = 0, cpu: Int = 0
        ) {
            self.sessions = sessions
            self.sessionsPerAddress = sessionsPerAddress
            self.streams = streams
            self.players = players
            self.playersPerStream = playersPerStream
            self.streamsPerSession = streamsPerSession
            self.packetRate = packetRate
            self.cpu = cpu
        }
    }

    package var limits: Limits
    /// From the answer to the first valid ICE pair.
    package var iceTimeout: Duration
    /// From the first valid ICE pair to the end of the DTLS handshake.
    package var dtlsTimeout: Duration
    /// For one question to the backend. The hooks keep their own, shorter time; this is for hooks that do not.
    package var hookTimeout: Duration
    /// For one command to the media side.
    package var mediaTimeout: Duration
    /// How long a closed transport waits for the stop message that usually follows on the other connection.
    package var transportCloseGrace: Duration
    /// `inboundVideoRate` and `outboundVideoRate` of WebSocket sessions, once per second.
    package var rateEvents: Bool
    /// Events that a session may leave unread before it is closed as a slow reader.
    package var eventQueueLimit: Int
    /// Bytes of the payload of one stream event.
    package var eventPayloadLimit: Int
    /// `sendData`, `snapshot` and bug reports of one session that may wait for the backend; more are refused.
    package var operationLimit: Int
    /// How long a lost session waits for its client to re-attach, if the client asked for that; zero = never.
    package var reattachTime: Duration
    /// `sendData`, `snapshot` and bug reports of one session per second, and twice as many at once.
    package var operationRate = 200
    /// Bytes of the recent signalling of one WebSocket session that are kept for bug reports; 0 = none.
    package var journalBytes = 32 << 10
    /// How long a bug report of type `no_media` watches the packets.
    package var captureTime = Duration.seconds(2)
    /// Bug reports that watch packets at the same time.
    package var captures = 4
    /// For one command to the diagnostic store.
    package var storeTimeout = Duration.seconds(10)
    /// Snapshots that are made at the same time.
    package var snapshots = 4
    /// From the request of a snapshot to the picture.
    package var snapshotTimeout = Duration.seconds(10)
    /// Bytes of a PNG file.
    package var snapshotBytes = 16 << 20
    /// How long a source on demand may take until it can be played.
    package var sourceTimeout = Duration.seconds(10)
    /// How long a source on demand waits for its first player.
    package var sourceGrace = Duration.seconds(10)
    /// How long the end of a stream waits for the name of its recording.
    package var recordingTimeout = Duration.seconds(2)
    /// Pictures that wait for backends at the same time.
    package var pictureCopies = 8

    package init(
        limits: Limits = Limits(), iceTimeout: Duration = .seconds(30), dtlsTimeout: Duration = .seconds(30),
        hookTimeout: Duration = .seconds(5), mediaTimeout: Duration = .seconds(5),
        transportCloseGrace: Duration = .seconds(2), rateEvents: Bool = true, eventQueueLimit: Int = 1024,
        eventPayloadLimit: Int = 65_536, operationLimit: Int = 32, reattachTime: Duration = .seconds(300)
    ) {
        self.limits = limits
        self.iceTimeout = iceTimeout
        self.dtlsTimeout = dtlsTimeout
        self.hookTimeout = hookTimeout
        self.mediaTimeout = mediaTimeout
        self.transportCloseGrace = transportCloseGrace
        self.rateEvents = rateEvents
        self.eventQueueLimit = eventQueueLimit
        self.eventPayloadLimit = eventPayloadLimit
        self.operationLimit = operationLimit
        self.reattachTime = reattachTime
    }
}

import ControlPlane
import RESTHooks
import Tokens
import Wire

/// Everything an operator can set, with the defaults. Read by `ConfigurationLoader`; `Config/weir.yaml` explains
/// every key. A property `media.srtpBackend` is the key `srtp_backend` of section `media` and the environment
/// variable `WEIR_MEDIA_SRTP_BACKEND`.
package struct Configuration: Sendable, Equatable {
    package var media = Media()
    package var ice = ICE()
    package var websocket = WebSocket()
    package var http = HTTP()
    package var hls = HLS()
    package var rtsp = RTSP()
    package var tls = TLS()
    package var proxies = Proxies()
    package var hooks = Hooks()
    package var tokens = Tokens()
    /// Of the section `applications`, whose keys are those of the applications.
    package var applications: [Application] = []
    package var recording = Recording()
    package var vod = Playback()
    package var limits = Limits()
    package var diagnostics = Diagnostics()
    package var log = Log()
    package var shutdown = Shutdown()
    package var state = State()
    package var features = Features()

    package init() {}

    /// The media side: sockets, workers, SRTP, buffers.
    package struct Media: Sendable, Equatable {
        /// UDP and ICE-TCP port of all peers.
        package var port: UInt16 = 31001
        /// Addresses to bind; the port of each is 0.
        package var listen = [SocketAddress(ipv4: 0, port: 0)]
        /// Addresses written into SDP as candidates; empty: those of the interfaces that `listen` covers.
        package var announce: [SocketAddress] = []
        /// Threads; 0: one per core that this process may use.
        package var workers = 0
        package var pinWorkers = false
        package var gso = true
        package var tcp = true
        package var srtpBackend = SRTPBackendChoice.automatic
        package var srtpProfiles: [SRTPProfile] = [.aeadAES128GCM, .aeadAES256GCM, .aes128CMHMACSHA1_80]
        /// PEM file; empty: a new certificate at each start.
        package var dtlsCertificate = ""
        /// PEM file; empty: the key is in the file of the certificate.
        package var dtlsKey = ""
        package var rtpTimeout = Interval.seconds(60)
        package var groupCache = Interval.milliseconds(500)
        package var groupCachePackets = 4096
        package var gatherLimit = Interval.milliseconds(15)
        package var gatherMinPlayers = 16
        package var soundGatherLimit = Interval.milliseconds(15)
        package var soundGatherMinPlayers = 150
        /// Video packets that a player gets at once; 0: no bound.
        package var burstPackets = 0
        package var burstInterval = Interval.milliseconds(5)
        package var overloadDelay = Interval.milliseconds(60)
        /// Bytes.
        package var receiveBuffer = 4 << 20
        /// Bytes.
        package var sendBuffer = 4 << 20
        /// Bits per second.
        package var maxBitrate = 5_000_000
        /// Bytes per worker.
        package var packetMemory = 512 << 20
        /// Bytes per ICE-TCP peer.
        package var tcpQueue = 1 << 20
        package var tcpConnections = 4096
        package var tcpConnectionsPerAddress = 256

        package init() {}
    }

    /// How long a peer may be silent.
    package struct ICE: Sendable, Equatable {
        /// From the answer until ICE and DTLS are up: else `Failed by ICE timeout`.
        package var timeout = Interval.seconds(30)
        /// Without an authenticated check, once connected: else `Failed by ICE keep alive`.
        package var keepAliveTimeout = Interval.seconds(30)

        package init() {}
    }

    /// The WCS WebSocket.
    package struct WebSocket: Sendable, Equatable {
        package var listen = SocketAddress(ipv4: 0, port: 0)
        package var port: UInt16 = 8080
        /// 0: no TLS listener.
        package var tlsPort: UInt16 = 8443
        /// From the upgrade to the message `connection`.
        package var connectTimeout = Interval.seconds(10)
        package var keepAlive = KeepAliveChoice.text
        package var pingInterval = Interval.seconds(5)
        /// Unanswered pings after which the connection is dead.
        package var pingProbes = 10
        /// How long a lost session waits for its client, if that asked for it; zero: never.
        package var reattachTime = Interval.seconds(300)
        /// Bytes of one message, fragments joined.
        package var maxMessage = 1 << 20
        /// Messages that wait for a slow reader.
        package var sendQueue = 1024

        package init() {}
    }

    /// WHIP, WHEP, pages, metrics.
    package struct HTTP: Sendable, Equatable {
        package var listen = SocketAddress(ipv4: 0, port: 0)
        package var port: UInt16 = 8081
        /// 0: no TLS listener.
        package var tlsPort: UInt16 = 8444
        /// `Origin` values that may call WHIP and WHEP from a page; `*` is everyone.
        package var corsOrigins = ["*"]
        /// Given to WHIP and WHEP clients in `Link` headers.
        package var iceServers: [ICEServer] = []
        package var idleTimeout = Interval.seconds(60)
        /// Bytes of one request body.
        package var maxBody = 256 << 10
        /// Bearer token of the operator's paths; empty: they answer to this machine only.
        package var adminToken = ""
        /// Whoever asks from this machine is the operator.
        package var adminFromLoopback = true
        /// PEM file of authorities whose certificates make their holders the operator; empty: none.
        package var adminClientCa = ""
        /// The list of live streams answers to everyone, which the page needs; else it is an operator's path.
        package var publicStreamList = true

        package init() {}
    }

    package struct ICEServer: Sendable, Equatable {
        /// `stun:`, `turn:` or `turns:` addresses.
        package var urls: [String]
        package var username = ""
        package var credential = ""

        package init(urls: [String], username: String = "", credential: String = "") {
            self.urls = urls
            self.username = username
            self.credential = credential
        }
    }

    /// The certificate of the TLS listeners.
    package struct TLS: Sendable, Equatable {
        /// PEM file with the whole chain; empty: a development certificate kept in `state.dir`.
        package var certificate = ""
        /// PEM file.
        package var key = ""
        /// How often the files are looked at.
        package var checkInterval = Interval.seconds(60)

        package init() {}
    }

    /// Reverse proxies in front of the WebSocket and HTTP listeners.
    package struct Proxies: Sendable, Equatable {
        /// Whose `X-Forwarded-For` is believed.
        package var trusted: [AddressRange] = []

        package init() {}
    }

    /// How backends are asked and told; which ones there are is `applications`.
    package struct Hooks: Sendable, Equatable {
        package var enabled = true
        package var timeout = Interval.seconds(15)
        /// POSTs to one application's backend at the same time.
        package var concurrency = 64
        /// What one session may have waiting.
        package var sessionQueue = 256
        /// Events of one application that may wait.
        package var backlog = 20_000
        /// Signs the hooks of applications without credentials of their own; empty: none.
        package var secretKey = ""
        /// Keys of built-in applications that there are.
        package var builtIn = Application.builtIn.map(\.key)
        /// `StreamKeepAliveEvent`.
        package var keepAlive = false
        package var keepAliveInterval = Interval.seconds(10)
        package var keepAliveApplications = ["defaultApp"]

        package init() {}
    }

    /// Rights that clients bring with them.
    package struct Tokens: Sendable, Equatable {
        package var hs256Secrets: [TokenSecret] = []
        /// A file with a JWK Set; empty: none.
        package var jwksFile = ""
        /// How often that is looked at.
        package var checkInterval = Interval.seconds(60)
        /// Empty: of anybody who has a key.
        package var issuer = ""
        /// Empty: only tokens that name none.
        package var audience = ""
        package var leeway = Interval.seconds(5)
        package var neededFor = StreamAction.allCases
        package var exceptApplications: [String] = []
        package var endAtExpiry = false

        package init() {}

        package var settings: TokenSettings {
            TokenSettings(
                secrets: hs256Secrets, keyFile: jwksFile,
                rules: .init(
                    issuer: issuer.isEmpty ? nil : issuer, audience: audience.isEmpty ? nil : audience,
                    leeway: Double(leeway.milliseconds) / 1_000), neededFor: Set(neededFor),
                exceptApplications: Set(exceptApplications), endsAtExpiry: endAtExpiry)
        }

        /// Whether clients of that application need a token for something.
        func decides(about appKey: String) -> Bool { settings.isEnabled && !exceptApplications.contains(appKey) }
    }

    /// Bug reports, logs of sessions, and what clients tell of themselves.
    package struct Diagnostics: Sendable, Equatable {
        /// Whether clients may have anything kept.
        package var enabled = true
        /// Empty: `diagnostics` in `state.dir`.
        package var dir = ""
        package var maxFiles = 1_000
        package var maxSize = 1 << 30
        /// Bytes that the disk keeps free of it.
        package var minFree = 256 << 20
        package var maxLog = 16 << 20
        /// Bytes of one session's recent signalling.
        package var journal = 32 << 10
        /// Clients are asked for their WebRTC statistics.
        package var clientMetrics = false

        package init() {}
    }

    package struct Limits: Sendable, Equatable {
        package var connections = 20_000
        package var connectionsPerAddress = 2_000
        package var sessions = 20_000
        package var streams = 5_000
        package var players = 20_000
        package var playersPerStream = 20_000
        /// Publishers and players of one session together.
        package var streamsPerSession = 100
        /// Media packets per second that may leave; 0: no limit.
        package var packetRate = 0
        /// Percent of the processors; 0: no limit.
        package var cpu = 0

        package init() {}
    }

    package struct Log: Sendable, Equatable {
        package var level = LogLevel.info
        package var format = LogFormat.text
        /// Lines per second that one place in the source may write; 0: no limit.
        package var rate = 20
        /// Lines that it may write at once before the rate counts.
        package var burst = 200

        package init() {}
    }

    package struct Shutdown: Sendable, Equatable {
        package var timeout = Interval.seconds(10)

        package init() {}
    }

    package struct State: Sendable, Equatable {
        /// Empty: see `StateDirectory.standard`.
        package var dir = ""

        package init() {}
    }

    package struct Features: Sendable, Equatable {
        /// `inboundVideoRate` and `outboundVideoRate`, once a second.
        package var videoRateEvents = true

        package init() {}
    }
}

/// `SRTPBackendKind` by name, or the best one that this machine has. Other raw values are those of `SRTPBackendKind`.
package enum SRTPBackendChoice: String, Sendable, CaseIterable {
    case automatic = "auto"
    case ipsecMB = "ipsec-mb"
    case openSSL = "openssl"
    case libsrtp2 = "libsrtp2"
}

/// How the WebSocket finds out that a client is gone. The raw values are those of `WCSConfiguration.KeepAlive`.
package enum KeepAliveChoice: String, Sendable, CaseIterable {
    /// `ping` messages of WCS.
    case text
    /// Ping frames of RFC 6455.
    case websocket
    case none
}

package enum LogFormat: String, Sendable, CaseIterable { case text, json }

/// The levels of swift-log, least urgent first; the raw value is an atomic's (`LogSink.level`).
package enum LogLevel: UInt8, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical

    package var name: String { "\(self)" }
    package init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

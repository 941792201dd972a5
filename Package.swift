// swift-tools-version: 6.2
import Foundation
import PackageDescription

let environment = ProcessInfo.processInfo.environment

/// Settings of every Swift target of ours. Cross-module optimisation matters: the packet path runs through
/// five modules (Wire, RTP, SRTP, LinuxNet, MediaEngine), and without it every small accessor is a call.
let common: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("ExistentialAny"),
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]
/// For modules that parse bytes from the network: every use of an unsafe construct must say `unsafe`.
let strict: [SwiftSetting] = common + [.strictMemorySafety()]

let swiftLog: Target.Dependency = .product(name: "Logging", package: "swift-log")

var targets: [Target] = [
    // C libraries
    .target(name: "CLinuxNet"),
    .target(name: "CFiles"),
    .target(name: "CSourceProcess"),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CSRTP", pkgConfig: "libsrtp2", providers: [.apt(["libsrtp2-dev"])]),
    .systemLibrary(name: "CIPsecMB", providers: [.apt(["libipsec-mb-dev"])]),
    .systemLibrary(name: "COpus", pkgConfig: "opus", providers: [.apt(["libopus-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CVPX", pkgConfig: "vpx", providers: [.apt(["libvpx-dev"])]),
    .systemLibrary(
        name: "CLibAV", pkgConfig: "libavformat",
        providers: [.apt(["libavformat-dev", "libavcodec-dev", "libswscale-dev", "libswresample-dev"])]),

    // Protocol cores: no I/O, no clock, no Foundation
    .target(name: "Wire", swiftSettings: strict),
    .target(name: "ICE", dependencies: ["Wire", "COpenSSL"], swiftSettings: strict),
    .target(name: "DTLS", dependencies: ["Wire", "COpenSSL"], swiftSettings: strict),
    .target(name: "SRTP", dependencies: ["Wire", "CIPsecMB", "COpenSSL", "CSRTP"], swiftSettings: common),
    .target(name: "MediaFormats", dependencies: ["Wire"], swiftSettings: strict),
    .target(name: "RTP", dependencies: ["Wire", "MediaFormats"], swiftSettings: strict),
    .target(name: "SDP", dependencies: ["Wire"], swiftSettings: strict),
    .target(name: "RTSP", dependencies: ["COpenSSL", "MediaFormats", "SDP", "Wire"], swiftSettings: strict),
    .target(name: "MediaFrames", dependencies: ["Wire", "MediaFormats", "RTP"], swiftSettings: strict),
    .target(name: "HLS", dependencies: ["MediaFormats", "Wire"], swiftSettings: strict),

    // Media side
    .target(name: "LinuxNet", dependencies: ["Wire", "CLinuxNet"], swiftSettings: common),
    .target(
        name: "MediaEngine",
        dependencies: ["LinuxNet", "CLinuxNet", "ICE", "DTLS", "SRTP", "RTP", "SDP", "MediaFormats", "Wire"],
        swiftSettings: common),

    // Codecs and files: beside the media threads
    .target(
        name: "MediaFiles", dependencies: ["Wire", "MediaFormats", "MediaFrames", "CLibAV"], swiftSettings: common),
    .target(
        name: "Recording", dependencies: ["CFiles", "MediaFiles", "MediaFrames", "MediaFormats", "RTP", "Wire"],
        swiftSettings: common),

    .target(
        name: "Mixing", dependencies: ["CFiles", "MediaFiles", "MediaFrames", "MediaFormats", "Wire"],
        swiftSettings: common),
    .target(
        name: "Playback", dependencies: ["MediaFiles", "MediaFrames", "MediaFormats", "Wire"], swiftSettings: common),
    .target(
        name: "SourceProcess",
        dependencies: [
            "CSourceProcess", "MediaFiles", "MediaFrames", "MediaFormats", "Playback", "RTP", "RTSP", "Wire",
        ], swiftSettings: common),

    // Control side
    .target(name: "WeirMetrics", swiftSettings: common),
    .target(name: "WeirJSON", swiftSettings: common),
    .target(name: "ControlPlane", dependencies: ["WeirJSON", "WeirMetrics", swiftLog], swiftSettings: common),
    .target(
        name: "RESTHooks",
        dependencies: [
            "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "AsyncHTTPClient", package: "async-http-client"),
            .product(name: "Crypto", package: "swift-crypto"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
        ], swiftSettings: common),
    .target(
        name: "Diagnostics",
        dependencies: [
            "ControlPlane", "WeirMetrics", swiftLog, .product(name: "NIOPosix", package: "swift-nio"),
        ], swiftSettings: common),
    .target(
        name: "Tokens",
        dependencies: [
            "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog, .product(name: "JWTKit", package: "jwt-kit"),
        ], swiftSettings: strict),
    .target(
        name: "WCS",
        dependencies: [
            "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
            .product(name: "NIOWebSocket", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ], swiftSettings: common),
    .target(
        name: "RTSPServer",
        dependencies: [
            "ControlPlane", "MediaFormats", "RTP", "RTSP", "WeirMetrics", "Wire", swiftLog,
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ], swiftSettings: common),
    .target(
        name: "RTSPPull",
        dependencies: [
            "CSourceProcess", "RTSP", "RTP", "Wire",
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
        ], swiftSettings: common),
    .target(
        name: "HTTPServer",
        dependencies: [
            "CFiles", "CZlib", "ControlPlane", "HLS", "RESTHooks", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "Crypto", package: "swift-crypto"),
            .product(name: "Hummingbird", package: "hummingbird"),
            .product(name: "HummingbirdTLS", package: "hummingbird"),
            .product(name: "HummingbirdHTTP2", package: "hummingbird"),
            .product(name: "NIOHTTP2", package: "swift-nio-http2"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOTLS", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ], resources: [.copy("Web")], swiftSettings: common),
    .target(
        name: "MediaTaps",
        dependencies: ["MediaEngine", "MediaFrames", "MediaFormats", "LinuxNet", "RTP", "Wire"],
        swiftSettings: common),
    .target(
        name: "Weir",
        dependencies: [
            "MediaEngine", "MediaTaps", "MediaFrames", "MediaFiles", "MediaFormats", "Playback", "Recording", "RTP",
            "ControlPlane", "Diagnostics", "RESTHooks", "Tokens", "WCS", "HTTPServer", "HLS", "WeirJSON", "WeirMetrics",
            "RTSP", "RTSPServer", "RTSPPull", "SDP", "DTLS", "SRTP", "LinuxNet", "Wire", swiftLog,
            .product(name: "Yams", package: "Yams"),
            .product(name: "X509", package: "swift-certificates"),
            .product(name: "Crypto", package: "swift-crypto"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ], swiftSettings: common),
    // The load of `weir bench`: clients of any WHIP, WHEP or WCS server
    .target(
        name: "LoadGenerator",
        dependencies: [
            "LinuxNet", "CLinuxNet", "ICE", "DTLS", "SRTP", "RTP", "SDP", "MediaFormats", "Wire", "COpus", "CVPX",
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
            .product(name: "NIOWebSocket", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
        ], swiftSettings: common),
    .executableTarget(
        name: "weir",
        dependencies: [
            "Weir", "Mixing", "LoadGenerator", "SourceProcess", "Wire",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ],
        path: "Sources/weir-cli", swiftSettings: common),
]

// Shared by test targets and benchmarks: a clock and state to wait for, recorded offers.
targets.append(.target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: common))
// Real bitstreams, made by libavcodec.
targets.append(
    .target(
        name: "MediaTestSupport", dependencies: ["MediaFrames", "MediaFormats", "CLibAV", "Wire"],
        path: "Tests/MediaTestSupport", swiftSettings: common))

// A process that tests kill while it records.
targets.append(
    .executableTarget(
        name: "record-torture",
        dependencies: ["Recording", "MediaTestSupport", "MediaFiles", "MediaFrames", "MediaFormats", "Wire"],
        path: "Tests/RecordTorture", swiftSettings: common))

/// What each module's tests use beside the module itself.
let tests: [(module: String, dependencies: [Target.Dependency])] = [
    ("Wire", []),
    ("ICE", ["Wire"]),
    ("DTLS", ["COpenSSL", "Wire"]),
    ("SRTP", ["Wire"]),
    ("MediaFormats", ["Wire"]),
    ("RTP", ["MediaFormats", "Wire"]),
    ("SDP", ["TestSupport", "Wire"]),
    ("RTSP", ["MediaFormats", "SDP", "Wire"]),
    (
        "RTSPPull",
        [
            "TestSupport", "MediaFormats", "RTSP", "RTP", "Wire", .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
        ]
    ),
    (
        "RTSPServer",
        [
            "TestSupport", "ControlPlane", "MediaFormats", "RTP", "RTSP", "WeirMetrics", "Wire", swiftLog,
            .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ]
    ),
    ("LinuxNet", ["Wire"]),
    ("MediaEngine", ["LinuxNet", "ICE", "DTLS", "SRTP", "RTP", "SDP", "MediaFormats", "Wire"]),
    ("MediaFrames", ["MediaFormats", "RTP", "Wire"]),
    ("MediaTaps", ["TestSupport", "MediaEngine", "MediaFrames", "MediaFormats", "DTLS", "SDP", "Wire"]),
    ("MediaFiles", ["MediaTestSupport", "CLibAV", "MediaFormats", "MediaFrames", "RTP", "Wire"]),
    ("HLS", ["MediaFormats", "Wire"]),
    (
        "Recording",
        ["record-torture", "MediaTestSupport", "MediaFiles", "MediaFormats", "MediaFrames", "RTP", "CLibAV", "Wire"]
    ),
    (
        "Mixing",
        ["Recording", "MediaTestSupport", "MediaFiles", "MediaFormats", "MediaFrames", "CLibAV", "Wire"]
    ),
    ("Playback", ["MediaTestSupport", "MediaFiles", "MediaFormats", "MediaFrames", "Wire"]),
    ("SourceProcess", ["CSourceProcess", "MediaFormats", "Playback", "RTP", "RTSP", "Wire"]),
    ("ControlPlane", ["TestSupport", "WeirMetrics", swiftLog]),
    ("WeirMetrics", []),
    (
        "RESTHooks",
        [
            "TestSupport", "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "Hummingbird", package: "hummingbird"), .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
        ]
    ),
    ("Diagnostics", ["TestSupport", "ControlPlane", "WeirMetrics", swiftLog]),
    (
        "Tokens",
        [
            "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "Crypto", package: "swift-crypto"), .product(name: "CryptoExtras", package: "swift-crypto"),
        ]
    ),
    (
        "WCS",
        [
            "ControlPlane", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOWebSocket", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ]
    ),
    (
        "HTTPServer",
        [
            "ControlPlane", "HLS", "MediaFormats", "RESTHooks", "Wire", "WeirJSON", "WeirMetrics", swiftLog,
            .product(name: "HummingbirdTesting", package: "hummingbird"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        ]
    ),
    (
        "LoadGenerator",
        [
            "TestSupport", "CLinuxNet", "ICE", "SRTP", "RTP", "SDP", "MediaFormats", "Wire",
            .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOWebSocket", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
        ]
    ),
    (
        "Weir",
        [
            "TestSupport", "MediaEngine", "ControlPlane", "HTTPServer", "HLS", "RESTHooks", "Tokens", "Recording",
            "MediaFiles", "MediaFormats", "Wire", swiftLog,
        ]
    ),
]
for (module, dependencies) in tests {
    targets.append(
        .testTarget(
            name: "\(module)Tests", dependencies: [.target(name: module)] + dependencies,
            path: "Tests/\(module)Tests", swiftSettings: common))
}

// libFuzzer targets bring no `main`, and everything below them must be built with coverage, so `tools/fuzz` gets a
// manifest of its own: the protocol cores and WCS's codec without the server around it, hence without packages.
let fuzzing = environment["WEIR_FUZZ"] != nil
if fuzzing {
    let cores = [
        "COpenSSL", "Wire", "ICE", "DTLS", "MediaFormats", "RTP", "MediaFrames", "CLibAV", "MediaFiles", "Playback",
        "SDP", "RTSP", "HLS", "WeirJSON",
    ]
    targets = targets.filter { cores.contains($0.name) }
    targets += [
        .target(
            name: "WCS", dependencies: ["WeirJSON"],
            sources: ["MessageAssembler.swift", "WCSCodec.swift", "WCSMessage.swift", "WCSRequest.swift"],
            swiftSettings: common),
        .target(
            name: "ControlPlane",
            sources: [
                "Configuration.swift", "HookMethod.swift", "Identifiers.swift", "MediaBackend.swift",
                "MediaIntake.swift", "Requests.swift", "StatusCode.swift", "StreamName.swift", "StreamRights.swift",
                "Diagnostics/MediaCapture.swift", "Diagnostics/Redaction.swift",
            ],
            swiftSettings: common),
        .target(
            name: "RESTHooks", dependencies: ["ControlPlane", "WeirJSON"],
            sources: [
                "Application.swift", "ApplicationFile.swift", "Applications.swift", "HookReply.swift",
                "Overwrite.swift", "RESTClientConfig.swift",
            ], swiftSettings: common),
        .target(
            name: "HTTPServer", dependencies: ["WeirJSON"], sources: ["REST/RESTParameters.swift"],
            swiftSettings: common),
        .target(
            name: "Tokens", dependencies: ["ControlPlane", "WeirJSON"],
            sources: [
                "Base64URL.swift", "CompactToken.swift", "KeySet.swift", "NamePattern.swift", "TokenClaims.swift",
                "TokenKeys.swift", "TokenRefusal.swift", "TokenVerifier.swift",
            ], swiftSettings: common),
    ]
    let fuzzTargets: [(name: String, dependencies: [Target.Dependency])] = [
        ("STUN", ["ICE", "Wire"]), ("RTP", ["RTP", "Wire"]), ("RTCP", ["RTP", "Wire"]), ("SDP", ["SDP"]),
        ("Codecs", ["MediaFormats", "Wire"]), ("WCS", ["WCS", "WeirJSON"]),
        ("DTLS", ["DTLS", "Wire"]), ("RTSP", ["RTSP", "MediaFormats", "Wire"]),
        ("Hooks", ["RESTHooks", "ControlPlane", "WeirJSON"]),
        ("REST", ["HTTPServer", "RESTHooks", "WeirJSON"]), ("Tokens", ["Tokens", "ControlPlane", "WeirJSON"]),
        ("Redaction", ["ControlPlane"]),
        ("Frames", ["MediaFrames", "MediaFormats", "RTP", "Wire"]),
        ("Intake", ["MediaFrames", "MediaFormats", "Wire"]),
        ("TornFiles", ["MediaFiles", "MediaFormats", "Wire"]),
        ("HLS", ["HLS", "MediaFormats", "Wire"]),
        ("Playback", ["Playback", "MediaFiles", "MediaFormats", "Wire"]),
    ]
    for (name, dependencies) in fuzzTargets {
        targets.append(
            .executableTarget(
                name: "fuzz-\(name)", dependencies: dependencies, path: "Tests/Fuzz/\(name)", exclude: ["Corpus"],
                swiftSettings: common + [.unsafeFlags(["-parse-as-library"])]))
    }
}

// Benchmarks bring targets that a server's build has no use for: tools/micro and tools/bench set WEIR_BENCH. The limit
// program depends on nothing of ours but C, so that it builds in seconds; only WEIR_BENCH=micro brings a package.
let microBenchmarking = !fuzzing && environment["WEIR_BENCH"] == "micro"
let benchmarking = !fuzzing && environment["WEIR_BENCH"] != nil
if benchmarking {
    #if arch(x86_64)
        let limitLibraries: [LinkerSetting] = [.linkedLibrary("crypto"), .linkedLibrary("IPSec_MB")]
    #else
        let limitLibraries: [LinkerSetting] = [.linkedLibrary("crypto")]
    #endif
    targets += [
        .target(
            name: "CLimit", dependencies: ["COpenSSL"], path: "Benchmarks/CLimit", linkerSettings: limitLibraries),
        .executableTarget(
            name: "weir-limit", dependencies: ["CLimit"], path: "Benchmarks/Limit", swiftSettings: common),
    ]
}
if microBenchmarking {
    targets.append(
        .executableTarget(
            name: "Micro",
            dependencies: [
                "TestSupport", "MediaEngine", "CLinuxNet", "ICE", "SRTP", "RTP", "SDP", "Wire",
                .product(name: "Benchmark", package: "benchmark"),
            ], path: "Benchmarks/Micro", swiftSettings: common,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]))
}

let package = Package(
    name: "weir",
    products: fuzzing ? [] : [.executable(name: "weir", targets: ["weir"])],
    dependencies: fuzzing
        ? []
        : [
            .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
            .package(url: "https://github.com/apple/swift-nio-http2", from: "1.38.0"),
            .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
            .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
            .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
            .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
            .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
            .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
            .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
            .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
            .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
            .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        ]
            + (microBenchmarking
                // Its default trait wants jemalloc.
                ? [.package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: [])] : []),
    targets: targets
)

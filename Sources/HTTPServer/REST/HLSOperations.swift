import ControlPlane
import FoundationEssentials
import HLS
import HTTPTypes
import Hummingbird
import WeirJSON

/// `hls/…`: the HLS output of streams.
struct HLSOperations: Sendable {
    static let outputSchema = "HLSOutput"
    static let profileSchema = "HLSProfile"
    private static let name = RESTField("name", .text, required: true, "name of the stream")

    /// nil: this server has no HLS.
    let backend: (any HLSBackend)?

    var all: [RESTOperation] {
        [
            RESTOperation(
                "hls/startup",
                "Begins the HLS output of a stream that is published, or made on demand, as its first viewer would.",
                fields: [Self.name], answer: .nothing, statuses: [404, 501, 503]
            ) { try await startup($0) },
            RESTOperation(
                "hls/find_all", "The streams that have HLS output.", fields: RESTPage.fields,
                answer: .list(Self.outputSchema), statuses: [404, 501], isAlsoGET: true
            ) { try findAll($0) },
            RESTOperation(
                "hls/terminate", "Ends the HLS output of a stream. With the next request of a viewer it begins anew.",
                fields: [Self.name], answer: .nothing, statuses: [404, 501]
            ) { try terminate($0) },
            RESTOperation(
                "hls/profiles", "What a viewer of an output may choose from.",
                fields: [
                    RESTField("hlsId", .text, required: true, "id of the output, as hls/find_all has it"),
                    RESTField("profileName", .text, "only that one"),
                ], answer: .list(Self.profileSchema), statuses: [404, 501]
            ) { try profiles($0) },
        ]
    }

    static let schemas: [(String, [RESTField])] = [
        (
            outputSchema,
            [
                RESTField("id", .text, required: true, "of this output"),
                RESTField("streamName", .text, required: true, "name of the stream"),
                RESTField(
                    "status", .text, required: true,
                    "ACTIVE; WAITING while the publisher is away; ENDED while the end can still be watched"),
                RESTField("waitingSize", .number, required: true, "requests that wait for what is still to come"),
                RESTField("profiles", .texts, required: true, "names of what a viewer may choose from"),
                RESTField("subscribers", .number, required: true, "viewers who have asked for a playlist lately"),
                RESTField("playlist", .text, required: true, "path of the playlist"),
                RESTField("createdDate", .number, required: true, "when it began, milliseconds since 1970"),
                RESTField("logs", .texts, required: true, "what is wrong with the stream; empty if nothing is"),
            ]
        ),
        (
            profileSchema,
            [
                RESTField("name", .text, required: true, "as in paths"),
                RESTField("playlist", .text, required: true, "path of its playlist"),
                RESTField("bandwidth", .number, required: true, "measured, bits per second"),
                RESTField("codecs", .texts, required: true, "as in the playlist, for example avc1.42c01f"),
                RESTField("width", .number, required: true, "pixels; 0 without pictures"),
                RESTField("height", .number, required: true, "pixels; 0 without pictures"),
                RESTField(
                    "status", .text, required: true,
                    "ACTIVE; IDLE: a lower rendition that is made when somebody asks for it"),
            ]
        ),
    ]

    private func served() throws(Problem) -> any HLSBackend {
        guard let backend else {
            throw Problem(.notImplemented, "HLS is switched off", remedy: "Set hls.enabled.")
        }
        return backend
    }

    private func startup(_ parameters: RESTParameters) async throws -> Response {
        switch try await served().stream(named: parameters.text(Self.name.name) ?? "") {
        case .stream: return RESTOperation.done
        case .notFound: throw Problem.nothingFound("published stream")
        case .refused(let reason): throw Problem(.serviceUnavailable, reason, remedy: "Play the stream by WebRTC.")
        }
    }

    private func findAll(_ parameters: RESTParameters) throws -> Response {
        try RESTOperation.found(try served().all.map(Self.object), "HLS output", parameters)
    }

    private func terminate(_ parameters: RESTParameters) throws -> Response {
        guard try served().terminate(parameters.text(Self.name.name) ?? "") else {
            throw Problem.nothingFound("HLS output")
        }
        return RESTOperation.done
    }

    private func profiles(_ parameters: RESTParameters) throws -> Response {
        let id = parameters.text("hlsId")
        guard let stream = try served().all.first(where: { $0.id == id }) else {
            throw Problem.nothingFound("HLS output")
        }
        let wanted = parameters.text("profileName")
        let objects = Self.profiles(of: stream).filter { wanted == nil || $0.name == wanted }.map(\.object)
        guard !objects.isEmpty else { throw Problem.nothingFound("profile") }
        return JSONResponse.make(json: .array(objects))
    }

    // MARK: Objects

    /// Without the password of a URL, so of no use to who does not know it.
    private static func path(_ name: String) -> String { "/\(HLSPath.encode(StreamName.shown(name)))/" }

    private static func object(_ stream: HLSStream) -> JSONValue {
        let status = stream.status
        let phase =
            switch status.phase {
            case .live: "ACTIVE"
            case .waiting: "WAITING"
            case .ended: "ENDED"
            }
        let logs =
            status.hasLongGroups
            ? ["The publisher sends key frames too rarely: viewers begin late. Set a shorter key-frame interval there."]
            : []
        let created = Date().timeIntervalSince1970 * 1_000 - Double(status.age.milliseconds)
        return .object([
            JSONMember("id", .string(stream.id)), JSONMember("streamName", .string(StreamName.shown(stream.name))),
            JSONMember("status", .string(phase)), JSONMember("waitingSize", .integer(status.waiting)),
            JSONMember("profiles", .array(profiles(of: stream).map { .string($0.name) })),
            JSONMember("subscribers", .integer(status.viewers)),
            JSONMember(
                "playlist", .string("\(path(stream.name))\(HLSPath.encode(StreamName.shown(stream.name))).m3u8")),
            JSONMember("createdDate", .integer(Int64(created))),
            JSONMember("logs", .array(logs.map(JSONValue.string))),
        ])
    }

    private static func profiles(of stream: HLSStream) -> [(name: String, object: JSONValue)] {
        let list = stream.variantsNow
        let idle = Set(stream.rungs.filter { !$0.isMade }.map(\.name))
        func profile(
            _ uri: String, bandwidth: Int = 0, codecs: [String] = [], width: Int = 0, height: Int = 0
        ) -> (name: String, object: JSONValue) {
            let name = String(uri.prefix { $0 != "/" })
            return (
                name,
                .object([
                    JSONMember("name", .string(name)), JSONMember("playlist", .string(path(stream.name) + uri)),
                    JSONMember("bandwidth", .integer(bandwidth)),
                    JSONMember("codecs", .array(codecs.map(JSONValue.string))), JSONMember("width", .integer(width)),
                    JSONMember("height", .integer(height)),
                    JSONMember("status", .string(idle.contains(name) ? "IDLE" : "ACTIVE")),
                ])
            )
        }
        // A sound that is a variant, too, is there once.
        let alone = Set(list.variants.map(\.uri))
        return list.variants.map { variant in
            profile(
                variant.uri, bandwidth: variant.bandwidth, codecs: variant.codecs,
                width: variant.resolution?.width ?? 0, height: variant.resolution?.height ?? 0)
        } + list.audio.filter { !alone.contains($0.uri) }.map { profile($0.uri) }
    }
}

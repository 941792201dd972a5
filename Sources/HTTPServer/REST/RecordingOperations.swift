import ControlPlane
import HTTPTypes
import Hummingbird
import WeirJSON

/// `stream/startRecording`, `stream/stopRecording` and `recording/…`.
struct RecordingOperations: Sendable {
    private static let resultSchema = "RecordingResult"
    private static let id = RESTField("mediaSessionId", .text, required: true, "id of the publisher")
    private static let name = RESTField("name", .text, required: true, "name of the file")

    let control: ControlPlane
    /// nil: nothing is recorded here.
    let library: (any RecordLibrary)?

    var all: [RESTOperation] {
        [
            RESTOperation(
                "stream/startRecording", "Begins to record a live published stream.",
                fields: [
                    Self.id,
                    RESTField(
                        "fileName", .text, "name of the file, instead of recording.template; the extension is Weir's"),
                    RESTField("force", .flag, "a recording that goes on is ended and a new one begun; else 409"),
                ], answer: .nothing, statuses: [404, 409, 501, 503]
            ) { try await start($0) },
            RESTOperation(
                "stream/stopRecording",
                "Ends the recording of a stream, whoever began it. The answer has the last file's name if there is one.",
                fields: [Self.id], answer: .one(Self.resultSchema), statuses: [404, 501]
            ) { try await stop($0) },
            RESTOperation(
                "recording/find_all", "Complete recordings, newest first.", fields: RESTPage.fields,
                answer: .list(RecordObject.schema), statuses: [404, 501], isAlsoGET: true
            ) { try await findAll($0) },
            RESTOperation(
                "recording/find", "One recording.", fields: [Self.name], answer: .one(RecordObject.schema),
                statuses: [404, 501]
            ) { try await find($0) },
            RESTOperation(
                "recording/delete", "Deletes a recording.", fields: [Self.name], answer: .nothing, statuses: [404, 501]
            ) { try await delete($0) },
        ]
    }

    static let schemas: [(String, [RESTField])] = [
        (
            resultSchema,
            [RESTField("recordName", .text, "as /client/records/NAME has it; missing if nothing was recorded")]
        ),
        (RecordObject.schema, RecordObject.fields),
    ]

    private static var notServed: Problem {
        Problem(.notImplemented, "Recording is switched off", remedy: "Set recording.enabled.")
    }

    private func start(_ parameters: RESTParameters) async throws -> Response {
        let outcome = await control.startRecording(
            mediaSessionId: parameters.text(Self.id.name) ?? "", fileName: parameters.text("fileName"),
            force: parameters["force"]?.flag ?? false)
        switch outcome {
        case .started: return RESTOperation.done
        case .noStream: throw Problem.nothingFound("live published stream")
        case .alreadyRecording:
            throw Problem(.conflict, "The stream is being recorded", remedy: "Send force: true to begin a new file.")
        case .refused(let info): throw Problem(.serviceUnavailable, info, remedy: "Try again later.")
        case .notServed: throw Self.notServed
        }
    }

    private func stop(_ parameters: RESTParameters) async throws -> Response {
        switch await control.stopRecording(mediaSessionId: parameters.text(Self.id.name) ?? "") {
        case .stopped(let name):
            return JSONResponse.make(json: .object(name.map { [JSONMember("recordName", .string($0))] } ?? []))
        case .noStream: throw Problem.nothingFound("published stream")
        case .notRecording:
            throw Problem(.notFound, "The stream is not being recorded", remedy: "Begin by startRecording.")
        case .notServed: throw Self.notServed
        }
    }

    private func findAll(_ parameters: RESTParameters) async throws -> Response {
        guard let library else { throw Self.notServed }
        let entries = await library.entries()
        guard !entries.isEmpty else { throw Problem.nothingFound("recording") }
        return JSONResponse.make(
            json: .array(await RecordObject.list(Array(RESTPage(parameters).cut(entries)), library)))
    }

    private func find(_ parameters: RESTParameters) async throws -> Response {
        guard let library else { throw Self.notServed }
        guard let entry = await library.entry(parameters.text(Self.name.name) ?? "") else {
            throw Problem.nothingFound("recording")
        }
        return JSONResponse.make(json: RecordObject.make(entry, await library.details(of: entry)))
    }

    private func delete(_ parameters: RESTParameters) async throws -> Response {
        guard let library else { throw Self.notServed }
        guard await library.delete(parameters.text(Self.name.name) ?? "") else {
            throw Problem.nothingFound("recording")
        }
        return RESTOperation.done
    }
}

/// A recording as the operator sees it.
enum RecordObject {
    static let schema = "Recording"
    /// Files that are read at the same time for a list.
    private static let width = 8

    static let fields = [
        RESTField("name", .text, required: true, "name of the file"),
        RESTField("uri", .text, required: true, "path from which it is fetched"),
        RESTField("type", .text, required: true, "MIME type"),
        RESTField("bytes", .number, required: true, "its length"),
        RESTField("date", .number, required: true, "when it was completed, milliseconds since 1970"),
        RESTField("duration", .number, "milliseconds; missing, as what follows, if the file cannot be read"),
        RESTField("audioCodec", .text, "for example opus"),
        RESTField("videoCodec", .text, "for example vp8"),
        RESTField("width", .number, "pixels as displayed; 0 without pictures"),
        RESTField("height", .number, "pixels as displayed; 0 without pictures"),
    ]

    static func make(_ entry: RecordEntry, _ details: RecordDetails?) -> JSONValue {
        var members = [
            JSONMember("name", .string(entry.name)), JSONMember("uri", .string(RecordRoutes.path(of: entry.name))),
            JSONMember("type", .string(entry.type)), JSONMember("bytes", .integer(entry.bytes)),
            JSONMember("date", .integer(entry.modifiedAt)),
        ]
        guard let details else { return .object(members) }
        members.append(JSONMember("duration", .integer(Int64((details.duration / .milliseconds(1)).rounded()))))
        if let codec = details.audioCodec { members.append(JSONMember("audioCodec", .string(codec))) }
        if let codec = details.videoCodec { members.append(JSONMember("videoCodec", .string(codec))) }
        members.append(JSONMember("width", .integer(details.width)))
        members.append(JSONMember("height", .integer(details.height)))
        return .object(members)
    }

    /// In the order of the entries.
    static func list(_ entries: [RecordEntry], _ library: any RecordLibrary) async -> [JSONValue] {
        await withTaskGroup(of: (Int, JSONValue).self) { group in
            var objects = [JSONValue?](repeating: nil, count: entries.count)
            for (index, entry) in entries.enumerated() {
                if index >= width, let (done, object) = await group.next() { objects[done] = object }
                group.addTask { (index, make(entry, await library.details(of: entry))) }
            }
            for await (done, object) in group { objects[done] = object }
            return objects.compactMap { $0 }
        }
    }
}

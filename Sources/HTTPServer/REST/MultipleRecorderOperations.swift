import ControlPlane
import HTTPTypes
import Hummingbird
import WeirJSON

/// `multipleRecorder/…`: several streams into one file.
struct MultipleRecorderOperations: Sendable {
    private static let schema = "MultipleRecorder"
    private static let endSchema = "MultipleRecorderEnd"
    private static let uri = RESTField(
        "uri", .text, required: true, "name of the recorder: \(MultipleRecording.scheme) and any text")
    private static let id = RESTField("mediaSessionId", .text, required: true, "id of a publisher")

    let control: ControlPlane

    var all: [RESTOperation] {
        [
            RESTOperation(
                "multipleRecorder/startup", "Begins a file into which several streams can be recorded.",
                fields: [Self.uri], answer: .one(Self.schema), statuses: [409, 501, 503]
            ) { parameters in
                try await serve(parameters) { uri throws(MultipleRecorderRefusal) in
                    JSONResponse.make(json: Self.object(try await control.startMultipleRecorder(uri)))
                }
            },
            RESTOperation(
                "multipleRecorder/add", "Records a live published stream into the file, from now on.",
                fields: [Self.uri, Self.id], answer: .nothing, statuses: [404, 409, 501, 503]
            ) { parameters in
                try await serve(parameters) { uri throws(MultipleRecorderRefusal) in
                    try await control.addToMultipleRecorder(
                        uri, mediaSessionId: parameters.text(Self.id.name) ?? "")
                    return RESTOperation.done
                }
            },
            RESTOperation(
                "multipleRecorder/remove", "Ends the recording of a stream into the file; what there is of it stays.",
                fields: [Self.uri, Self.id], answer: .nothing, statuses: [404, 501]
            ) { parameters in
                try await serve(parameters) { uri throws(MultipleRecorderRefusal) in
                    try await control.removeFromMultipleRecorder(
                        uri, mediaSessionId: parameters.text(Self.id.name) ?? "")
                    return RESTOperation.done
                }
            },
            RESTOperation(
                "multipleRecorder/find_all", "Files of several streams that go on, and who is in them.",
                fields: RESTPage.fields, answer: .list(Self.schema), statuses: [404, 501], isAlsoGET: true
            ) { parameters in
                guard let recorders = control.multipleRecordings else { throw Self.problem(.notServed) }
                return try RESTOperation.found(recorders.map(Self.object), "recorder", parameters)
            },
            RESTOperation(
                "multipleRecorder/terminate", "Ends the file, which is completed in the background.",
                fields: [Self.uri], answer: .one(Self.endSchema), statuses: [404, 501]
            ) { parameters in
                try await serve(parameters) { uri throws(MultipleRecorderRefusal) in
                    let name = try await control.terminateMultipleRecorder(uri)
                    return JSONResponse.make(json: .object([JSONMember("fileName", .string(name))]))
                }
            },
        ]
    }

    static let schemas: [(String, [RESTField])] = [
        (
            schema,
            [
                RESTField("uri", .text, required: true, "name of the recorder"),
                RESTField("fileName", .text, required: true, "name that the file will have in the records folder"),
                RESTField("mediaSessionsId", .texts, required: true, "streams that are being recorded into it now"),
            ]
        ),
        (
            endSchema,
            [RESTField("fileName", .text, required: true, "name of the file, if anything was recorded into it")]
        ),
    ]

    private static func object(_ recorder: MultipleRecording) -> JSONValue {
        .object([
            JSONMember("uri", .string(recorder.uri)), JSONMember("fileName", .string(recorder.fileName)),
            // The plural is WCS's.
            JSONMember("mediaSessionsId", .array(recorder.mediaSessionIds.map { .string($0) })),
        ])
    }

    private func serve(
        _ parameters: RESTParameters, _ body: (String) async throws(MultipleRecorderRefusal) -> Response
    ) async throws -> Response {
        let uri = parameters.text(Self.uri.name) ?? ""
        guard MultipleRecording.isURI(uri) else {
            throw Problem(
                .badRequest, "uri is not the URI of a recorder",
                remedy: "Send \(MultipleRecording.scheme)NAME, of at most \(MultipleRecording.mostBytes) bytes.")
        }
        do throws(MultipleRecorderRefusal) {
            return try await body(uri)
        } catch {
            throw Self.problem(error)
        }
    }

    private static func problem(_ refusal: MultipleRecorderRefusal) -> Problem {
        switch refusal {
        case .noRecorder: .nothingFound("recorder")
        case .noStream: .nothingFound("stream")
        case .exists:
            Problem(
                .conflict, "There is such a recorder, or the stream is in it already",
                remedy: "Look at what there is by find_all.")
        case .notServed: Problem(.notImplemented, "Recording is switched off", remedy: "Set recording.enabled.")
        case .refused(let info): Problem(.serviceUnavailable, info, remedy: "Try again later.")
        }
    }
}

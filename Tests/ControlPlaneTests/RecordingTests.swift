import ControlPlane
import TestSupport
import Testing

/// A recorder by hand.
final class FakeRecorder: StreamRecorder {
    struct State: Sendable {
        var orders: [RecordingOrder] = []
        var recordings: [FakeRecording] = []
        var refusal: RecordingRefusal?
        /// Recordings end when they are told to, with this file.
        var endsWith: String? = "file.webm"
        var names: Set<String> = []
        var servesRequests = true
        /// Files of several streams: whose streams are in them.
        var groups: [String: [String]] = [:]
    }

    let state = Watched(State())

    var servesRequests: Bool { state.value.servesRequests }
    func records(_ stream: String) -> Bool { state.value.names.contains(stream) }

    func start(_ order: RecordingOrder) throws(RecordingRefusal) -> any OngoingRecording {
        if let refusal = state.value.refusal { throw refusal }
        let recording = FakeRecording(endsWith: state.value.endsWith)
        state.update { state in
            state.orders.append(order)
            state.recordings.append(recording)
        }
        return recording
    }
}

extension FakeRecorder: MultipleRecorder {
    var multiple: (any MultipleRecorder)? { self }
    var running: [MultipleRecording] {
        state.value.groups.map { MultipleRecording(uri: $0, fileName: "group.mkv", mediaSessionIds: $1) }
    }

    func startup(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecording {
        guard state.value.groups[uri] == nil else { throw .exists }
        state.update { $0.groups[uri] = [] }
        return MultipleRecording(uri: uri, fileName: "group.mkv", mediaSessionIds: [])
    }

    func add(_ order: RecordingOrder, to uri: String) throws(MultipleRecorderRefusal) -> any OngoingRecording {
        state.update { $0.groups[uri]?.append(order.mediaSessionId) }
        do { return try start(order) } catch { throw .refused(error.info) }
    }

    func remove(_ mediaSessionId: String, from uri: String) throws(MultipleRecorderRefusal) -> Gate {
        guard state.value.groups[uri]?.contains(mediaSessionId) == true else { throw .noStream }
        state.update { $0.groups[uri]?.removeAll { $0 == mediaSessionId } }
        let written = Gate()
        written.open()
        return written
    }

    /// Never says that it has ended, as if the disk hung.
    func terminate(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecordingEnd {
        guard state.value.groups[uri] != nil else { throw .noRecorder }
        state.update { $0.groups[uri] = nil }
        return MultipleRecordingEnd(fileName: "group.mkv", ended: Gate())
    }
}

final class FakeRecording: OngoingRecording {
    let news: AsyncStream<RecordingNews>
    let stops = Watched(0)
    private let continuation: AsyncStream<RecordingNews>.Continuation
    private let endsWith: String?

    init(endsWith: String?) {
        self.endsWith = endsWith
        (news, continuation) = AsyncStream.makeStream()
    }

    func start(_ name: String?) { continuation.yield(.started(fileName: name)) }

    func end(_ names: [String], _ failure: String? = nil) {
        continuation.yield(.ended(fileNames: names, failure: failure))
        continuation.finish()
    }

    func stop() {
        stops.update { $0 += 1 }
        if let endsWith { end([endsWith]) }
    }
}

/// Recordings as the control plane begins, ends and tells them.
@Suite("Recordings", .timeLimit(.minutes(4)))
struct RecordingTests {
    /// Publishes with `record: true` up to PUBLISHING.
    private static func publish(
        _ client: Client, _ plant: Plant, record: Bool = true, id: String = "a"
    ) async throws -> PeerID {
        var request = client.request(id)
        request.record = record
        await client.session.publish(request)
        let peer = try await plant.media.nextCall().peer
        #expect(await client.next() == .remoteSDP(mediaSessionId: id, sdp: "ANSWER"))
        _ = try await client.status()
        plant.media.send(.connected(peer))
        return peer
    }

    @Test func aPublisherThatAsksIsRecordedFromTheFirstPacketAndToldTheName() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let peer = try await Self.publish(ann, plant)
            // Before the media connection was up.
            #expect(plant.recorder.state.value.orders.map(\.publisher) == [peer])
            #expect(plant.recorder.state.value.orders[0].stream == "cam")
            let publishing = try await ann.status()
            #expect(publishing.status == .publishing && publishing.record && publishing.recordName == nil)
            plant.recorder.state.value.recordings[0].start("promised.webm")
            try await plant.hooks.state.wait { $0.heard.last == "a StreamEvent recordingStarted" }
            #expect(plant.hooks.state.value.told.last?.payload == JSONText(#"{"recordName":"promised.webm"}"#))
            await ann.session.stop(mediaSessionId: "a")
            let end = try await ann.status()
            #expect(end.status == .unpublished && end.info == "Stopped by user")
            #expect(end.record && end.recordName == "file.webm")
            let heard = plant.hooks.state.value.heard
            #expect(heard.suffix(2) == ["a StreamEvent recordingStopped", "a UNPUBLISHED"])
        }
    }

    @Test func whoDoesNotAskIsNotRecordedUnlessTheConfigurationNamesTheStream() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            _ = try await Self.publish(ann, plant, record: false)
            #expect(try await ann.status().record == false)
            #expect(plant.recorder.state.value.orders.isEmpty)
            await ann.session.stop(mediaSessionId: "a")
            #expect(try await ann.status().recordName == nil)
            plant.recorder.state.update { $0.names = ["cam"] }
            _ = try await Self.publish(ann, plant, record: false, id: "b")
            #expect(try await ann.status().record)
            #expect(plant.recorder.state.value.orders.count == 1)
        }
    }

    @Test func requestsMayBeSwitchedOffAndChangedByTheBackend() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.recorder.state.update { $0.servesRequests = false }
            _ = try await Self.publish(ann, plant)
            #expect(try await ann.status().record == false)
            plant.recorder.state.update { $0.servesRequests = true }
            var changed = ann.request("b", "other")
            changed.record = true
            plant.hooks.state.update { [changed] in $0.publish = .change(changed) }
            _ = try await Self.publish(ann, plant, record: false, id: "b")
            #expect(try await ann.status().record)
            #expect(plant.recorder.state.value.orders.map(\.stream) == ["other"])
        }
    }

    @Test func aFailedRecordingLeavesTheStreamAndSaysWhy() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            _ = try await Self.publish(ann, plant)
            _ = try await ann.status()
            let recording = plant.recorder.state.value.recordings[0]
            recording.start(nil)
            recording.end(["kept.webm"], "Recording stopped: no space left on the disk")
            let payload = JSONText(
                #"{"recordName":"kept.webm","info":"Recording stopped: no space left on the disk"}"#)
            #expect(
                await ann.next() == .streamEvent(mediaSessionId: "a", type: "recordingFailed", payload: payload))
            try await plant.hooks.state.wait { $0.heard.last == "a StreamEvent recordingFailed" }
            #expect(await plant.plane.streamReports().first?.state.record == false)
            #expect(await plant.plane.isAvailable("cam"))
            // It can be begun again.
            #expect(await plant.plane.startRecording(mediaSessionId: "a", fileName: "again", force: false) == .started)
            #expect(plant.recorder.state.value.orders.last?.fileName == "again")
            await ann.session.stop(mediaSessionId: "a")
            #expect(try await ann.status().recordName == "file.webm")
        }
    }

    @Test func theEndWaitsForAHangingDiskInBoundedTimeAndHappensOnce() async throws {
        var configuration = ControlConfiguration()
        configuration.recordingTimeout = .seconds(3)
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            plant.recorder.state.update { $0.endsWith = nil }
            _ = try await Self.publish(ann, plant)
            _ = try await ann.status()
            let recording = plant.recorder.state.value.recordings[0]
            recording.start("promised.webm")
            try await plant.hooks.state.wait { $0.heard.last == "a StreamEvent recordingStarted" }
            let session = ann.session
            let first = Task { await session.stop(mediaSessionId: "a") }
            try await recording.stops.wait { $0 == 1 }
            // A second cause waits for the first.
            let second = Task { await session.close(.clientClosed) }
            #expect(!(await plant.plane.isAvailable("nobody")))
            #expect(await plant.plane.isAvailable("cam"))
            try await plant.clock.sleeper(until: .seconds(3))
            plant.clock.advance(by: .seconds(3))
            let end = try await ann.status()
            #expect(end.status == .unpublished && end.info == "Stopped by user")
            #expect(end.recordName == "promised.webm")
            await first.value
            await second.value
            #expect(await ann.rest() == [.closing(.clientClosed)])
            recording.end([])
        }
    }

    @Test func theOperatorBeginsAndEndsRecordings() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let plane = plant.plane
            #expect(await plane.startRecording(mediaSessionId: "a", fileName: nil, force: false) == .noStream)
            #expect(await plane.stopRecording(mediaSessionId: "a") == .noStream)
            _ = try await Self.publish(ann, plant, record: false)
            _ = try await ann.status()
            #expect(await plane.stopRecording(mediaSessionId: "a") == .notRecording)
            #expect(await plane.startRecording(mediaSessionId: "a", fileName: "x", force: false) == .started)
            #expect(await plane.startRecording(mediaSessionId: "a", fileName: "y", force: false) == .alreadyRecording)
            #expect(await plane.streamReports().first?.state.record == true)
            #expect(await plane.startRecording(mediaSessionId: "a", fileName: "y", force: true) == .started)
            #expect(plant.recorder.state.value.orders.map(\.fileName) == ["x", "y"])
            #expect(plant.recorder.state.value.recordings[0].stops.value == 1)
            #expect(await plane.stopRecording(mediaSessionId: "a") == .stopped(fileName: "file.webm"))
            #expect(await plane.stopRecording(mediaSessionId: "a") == .notRecording)
            plant.recorder.state.update { $0.refusal = .tooMany }
            #expect(
                await plane.startRecording(mediaSessionId: "a", fileName: nil, force: false)
                    == .refused("Too many recordings"))
        }
    }

    @Test func theOperatorRecordsSeveralStreamsIntoOneFile() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let plane = plant.plane
            let uri = "multi-recorder://room"
            await #expect(throws: MultipleRecorderRefusal.noRecorder) {
                try await plane.addToMultipleRecorder(uri, mediaSessionId: "a")
            }
            #expect(try await plane.startMultipleRecorder(uri).fileName == "group.mkv")
            await #expect(throws: MultipleRecorderRefusal.exists) { try await plane.startMultipleRecorder(uri) }
            await #expect(throws: MultipleRecorderRefusal.noStream) {
                try await plane.addToMultipleRecorder(uri, mediaSessionId: "a")
            }
            _ = try await Self.publish(ann, plant, record: false)
            #expect(try await ann.status().record == false)
            try await plane.addToMultipleRecorder(uri, mediaSessionId: "a")
            #expect(plant.recorder.state.value.orders.last?.stream == "cam")
            #expect(plane.multipleRecordings?.first?.mediaSessionIds == ["a"])
            // Its own recording is another matter.
            #expect(await plane.streamReports().first?.state.record == false)
            plant.recorder.state.value.recordings[0].start("group.mkv")
            try await plant.hooks.state.wait { $0.heard.last == "a StreamEvent recordingStarted" }
            plant.recorder.state.value.recordings[0].end(["group.mkv"], "disk full")
            try await plant.hooks.state.wait { $0.heard.last == "a StreamEvent recordingFailed" }
            try await plane.removeFromMultipleRecorder(uri, mediaSessionId: "a")
            await #expect(throws: MultipleRecorderRefusal.noStream) {
                try await plane.removeFromMultipleRecorder(uri, mediaSessionId: "a")
            }
        }
    }

    @Test func theEndOfAFileIsAnsweredWhateverTheDiskDoes() async throws {
        var configuration = ControlConfiguration()
        configuration.recordingTimeout = .seconds(3)
        try await withPlant(configuration) { plant in
            let uri = "multi-recorder://room"
            _ = try await plant.plane.startMultipleRecorder(uri)
            let answer = Task { try await plant.plane.terminateMultipleRecorder(uri) }
            try await plant.clock.sleeper(until: .seconds(3))
            plant.clock.advance(by: .seconds(3))
            #expect(try await answer.value == "group.mkv")
            await #expect(throws: MultipleRecorderRefusal.noRecorder) {
                try await plant.plane.terminateMultipleRecorder(uri)
            }
        }
    }
}

import Logging
import WeirJSON

/// Recordings of this session's streams. They begin with the stream or on the operator's word, and end with the stream.
extension ClientSession {
    /// Records a stream that asked for it or that the configuration names. Called before its media can come, so that
    /// the recording has the first packet.
    func recordIfWanted(_ id: String) {
        guard let recorder = context.recorder, let stream = streams[id], stream.published, stream.recording == nil,
            (stream.request.record && recorder.servesRequests) || recorder.records(stream.request.name)
        else { return }
        _ = startRecording(id, recorder, fileName: nil)
    }

    /// - Returns: why not; nil when it has begun.
    private func startRecording(_ id: String, _ recorder: any StreamRecorder, fileName: String?) -> RecordingRefusal? {
        guard let stream = streams[id], let order = recordingOrder(id, fileName: fileName) else { return .noStream }
        let recording: any OngoingRecording
        do throws(RecordingRefusal) {
            recording = try recorder.start(order)
        } catch {
            log(stream, "recording could not begin", ["info": "\(error.info)"])
            tellRecording(id, .failed, fileName: nil, info: error.info)
            return error
        }
        let state = StreamRecording(recording: recording)
        streams[id]?.recording = state
        let peer = stream.peer
        // Ends with the recording, which ends with its publisher.
        Task {
            var hasStarted = false
            for await news in recording.news {
                if case .started = news { hasStarted = true }
                take(news, of: recording, id, peer, hasStarted: hasStarted)
            }
            state.ended.open()
        }
        return nil
    }

    func recordingOrder(_ id: String, fileName: String?) -> RecordingOrder? {
        streams[id].map { stream in
            RecordingOrder(
                publisher: stream.peer, stream: StreamName.shown(stream.request.name), mediaSessionId: id,
                sessionId: self.id,
                login: login, fileName: fileName)
        }
    }

    private func take(
        _ news: RecordingNews, of recording: any OngoingRecording, _ id: String, _ peer: PeerID, hasStarted: Bool
    ) {
        let isCurrent = isCurrent(id, peer) && streams[id]?.recording?.recording === recording
        switch news {
        case .started(let fileName):
            if isCurrent, let fileName { streams[id]?.recording?.fileName = fileName }
            tellRecording(id, .started, fileName: fileName, info: nil)
        case .ended(let fileNames, let failure):
            if isCurrent {
                streams[id]?.recording?.isOn = false
                streams[id]?.recording?.fileName = fileNames.last
                // The stream goes on, so a status would say the wrong thing.
                if let failure, let stream = streams[id] {
                    log(stream, "recording ended before its stream", ["info": "\(failure)"])
                    emit(
                        .streamEvent(
                            mediaSessionId: id, type: RecordingEvent.failed.rawValue,
                            payload: RecordingEvent.payload(fileName: fileNames.last, info: failure)))
                }
            }
            guard hasStarted || failure != nil else { return }
            tellRecording(id, failure == nil ? .stopped : .failed, fileName: fileNames.last, info: failure)
        }
    }

    func tellRecording(_ id: String, _ event: RecordingEvent, fileName: String?, info: String?) {
        hooks.tell(
            .recording(
                mediaSessionId: id, type: event.rawValue,
                payload: RecordingEvent.payload(fileName: fileName, info: info)))
    }

    /// What names of files call the client: its SIP login, or a part of its session's id that is nobody else's.
    private nonisolated var login: String {
        if let profile, let value = try? JSONParser.parse(Array(profile.text.utf8)),
            case .string(let login)? = value["sipLogin"], !login.isEmpty
        {
            return login
        }
        return id.split(separator: "-").last.map(String.init) ?? id
    }

    // MARK: Ends

    /// Ends the recording of a stream that is about to end, and waits until its file has a name: not longer than
    /// `ControlConfiguration.recordingTimeout`, whatever the disk does.
    func finishRecording(_ id: String) async {
        guard let state = streams[id]?.recording, state.isOn else { return }
        state.recording.stop()
        _ = await withDeadline(context.timers, context.configuration.recordingTimeout) { await state.ended.wait() }
    }

    /// Tells all recordings of the session to end: they do it side by side.
    func stopRecordings() {
        for stream in streams.values { stream.recording?.recording.stop() }
    }

    // MARK: The operator

    func startRecording(
        _ id: String, _ peer: PeerID, _ recorder: any StreamRecorder, fileName: String?, force: Bool
    ) async -> RecordingStartOutcome {
        guard isCurrent(id, peer), streams[id]?.isLive == true else { return .noStream }
        if streams[id]?.recording?.isOn == true {
            guard force else { return .alreadyRecording }
            await finishRecording(id)
        }
        guard isCurrent(id, peer), streams[id]?.isEnding == false else { return .noStream }
        guard streams[id]?.recording?.isOn != true else { return .refused("The recording before does not end") }
        guard let refusal = startRecording(id, recorder, fileName: fileName) else { return .started }
        return refusal == .noStream ? .noStream : .refused(refusal.info)
    }

    func stopRecording(_ id: String, _ peer: PeerID) async -> RecordingStopOutcome {
        guard isCurrent(id, peer) else { return .noStream }
        guard let state = streams[id]?.recording, state.isOn else { return .notRecording }
        await finishRecording(id)
        // Another may have begun meanwhile, and the stream may have ended.
        guard let now = streams[id]?.recording, now.recording === state.recording else {
            return .stopped(fileName: nil)
        }
        return .stopped(fileName: now.isOn ? nil : now.fileName)
    }
}

/// `StreamEvent` about a recording.
enum RecordingEvent: String {
    case started = "recordingStarted"
    case stopped = "recordingStopped"
    case failed = "recordingFailed"

    static func payload(fileName: String?, info: String?) -> JSONText? {
        var members: [JSONMember] = []
        if let fileName { members.append(JSONMember("recordName", .string(fileName))) }
        if let info { members.append(JSONMember("info", .string(info))) }
        return members.isEmpty ? nil : JSONText(JSONValue.object(members).serialized)
    }
}

extension ControlPlane {
    /// Begins to record a live publisher.
    /// - Parameter force: a recording that is going on is ended first.
    package nonisolated func startRecording(
        mediaSessionId: String, fileName: String?, force: Bool
    ) async -> RecordingStartOutcome {
        guard let recorder = context.recorder else { return .notServed }
        guard let (session, peer) = context.registry.publisher(mediaSessionId: mediaSessionId) else { return .noStream }
        return await session.startRecording(mediaSessionId, peer, recorder, fileName: fileName, force: force)
    }

    package nonisolated func stopRecording(mediaSessionId: String) async -> RecordingStopOutcome {
        guard context.recorder != nil else { return .notServed }
        guard let (session, peer) = context.registry.publisher(mediaSessionId: mediaSessionId) else { return .noStream }
        return await session.stopRecording(mediaSessionId, peer)
    }
}

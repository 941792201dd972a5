extension LoadPlanOptions {
    /// What the media threads do for this load. The clips are encoded here, once for all repetitions.
    /// - Throws: what the options must be instead, for pictures that cannot be encoded like this.
    package func makeMediaPlan() throws(OptionProblem) -> MediaPlan {
        do throws(ClipError) {
            return try encodedPlan()
        } catch {
            throw OptionProblem(
                option: "--bitrate", why: "\(error)",
                remedy: "give another bitrate, or change --size, --fps or --key-interval")
        }
    }

    private func encodedPlan() throws(ClipError) -> MediaPlan {
        let clip =
            switch video {
            case .h264:
                try ClipMaker.h264(
                    width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate,
                    keyFrameInterval: keyFrameFrames)
            case .vp8:
                try ClipMaker.vp8(
                    width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate,
                    keyFrameInterval: keyFrameFrames)
            }
        var plan = MediaPlan(video: clip, audio: hasAudio ? try ClipMaker.opus(bitrate: audioBitrate) : nil)
        plan.profiles = [protection.profile]
        plan.maxStreams = publishers
        plan.loss = loss
        plan.keyFrameRequestInterval = keyRequestInterval.map { .milliseconds(Int64($0 * 1000)) }
        plan.threads = threads
        plan.firstProcessor = pin
        plan.seed = seed
        return plan
    }

    /// How the clients of this load talk to the server.
    /// - Parameter token: for `Authorization: Bearer`, or WCS's `custom.token`.
    package func makeSignalling(token: String?) throws(SignallingFailure) -> any Signalling {
        switch signalling {
        case .whip:
            var settings = WHIPSignalling.Settings(base: url)
            if let publishURL { settings.publishURL = publishURL }
            if let playURL { settings.playURL = playURL }
            settings.token = token
            settings.insecure = insecure
            settings.connections = joinsInFlight
            return try WHIPSignalling(settings)
        case .wcs:
            var settings = WCSSignalling.Settings(url: url)
            settings.custom = token.map { ["token": $0] }
            settings.insecure = insecure
            return try WCSSignalling(settings)
        }
    }
}

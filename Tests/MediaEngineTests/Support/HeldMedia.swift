import Wire

extension World {
    /// The datagrams of one more picture of the publisher, and of the sound of its time, held back from the link; the
    /// publisher sends nothing else before and afterwards.
    func holdPicture(of publisher: PublisherCore) throws -> (video: [[UInt8]], audio: [UInt8]) {
        publisher.isSending = false
        try run(for: .milliseconds(100))
        publisher.resume(now: now)
        publisher.tick(now: now)
        publisher.isSending = false
        let media = publisher.outgoing.filter(WireLog.isRTP)
        publisher.outgoing = []
        guard let audio = media.first(where: { $0[1] & 0x7f == TestIDs.audioType }) else {
            throw TestFailure.badPacket("no sound with the picture")
        }
        return (media.filter { $0[1] & 0x7f == TestIDs.videoType }, audio)
    }

    /// As `holdPicture`, of a key frame of so many packets.
    func holdKeyFrame(of publisher: PublisherCore, packets: Int) throws -> (video: [[UInt8]], audio: [UInt8]) {
        publisher.isSending = false
        try run(for: .milliseconds(100))
        let settings = publisher.settings
        defer { publisher.settings = settings }
        publisher.settings.keyFrameEvery = 1
        publisher.settings.packetsOf = { _, _ in packets }
        return try holdPicture(of: publisher)
    }
}

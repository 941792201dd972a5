import Logging
import MediaEngine

/// Tells the operator when a media thread begins to give up video of its players, and when it has caught up. The
/// engine bounds how often (`OverloadEpisode`).
package struct OverloadLog: Sendable {
    /// What a line about an overload is about: a worker's number and what became of it.
    package typealias News = (worker: Int, what: OverloadNews)

    private let logger: Logger

    package init(_ logger: Logger) { self.logger = logger }

    /// Until the end of the news or of the task.
    package func run(_ news: AsyncStream<News>) async {
        for await each in news { tell(each) }
    }

    package func tell(_ news: News) {
        switch news.what {
        case .began(let thinned, let players):
            logger.warning(
                "Overloaded: the slowest players of this worker get key frames only, new peers are refused",
                metadata: [
                    "worker": .stringConvertible(news.worker), "thinned": .stringConvertible(thinned),
                    "players": .stringConvertible(players),
                    "remedy": "fewer players, more cores (media.workers) or a lower bitrate",
                ])
        case .ended(let lasted, let mostThinned):
            logger.notice(
                "Overload is over: all players of this worker get full video",
                metadata: [
                    "worker": .stringConvertible(news.worker), "thinned": .stringConvertible(mostThinned),
                    "seconds": .stringConvertible(lasted.nanoseconds / 1_000_000_000),
                ])
        }
    }
}

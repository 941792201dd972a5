import FoundationEssentials

/// The environment of this process.
package func processEnvironment() -> [String: String] { ProcessInfo.processInfo.environment }

// Package revision is the policies of one gateway: which of them decides, where it comes from, and what has to
// be shown before it may.
//
// There are three ways into force, and a configuration chooses one: the policy folder as it is (source.go, load.go,
// prove.go, and proven.go for a start), revisions that take two people and go by stages (submission.go, workflow*.go), and signed bundles
// (bundle*.go). Whatever decided is kept (kept.go), so that an answer can be explained and asked again later.
// workspace.go says how the folder in which policies are written stands to what decides.
//
// A running gateway and the commands of its operator use the same functions; that only one of them changes
// something at a time is for them to see to: the gateway by its lock, a command by opening the log, which has one writer.
// Nothing here defends against somebody who may write in gateway.state.
package revision

// Ctrl-C and SIGTERM as a flag that long work polls, so that it can save what would be lost and end with exit code 130.
#pragma once

namespace relume {

// The first SIGINT or SIGTERM sets the flag; a second one ends the process at once.
void install_interrupt_handler();
bool interrupted();
void throw_if_interrupted();  // throws Interrupted when the flag is set

}  // namespace relume

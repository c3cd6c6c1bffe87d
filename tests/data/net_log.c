/* For LD_PRELOAD: notes every name that is looked up and every internet address that is connected to. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void note(const char *what, const char *text) {
  const char *path = getenv("NET_LOG");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (file != NULL) {
    fprintf(file, "%s %s\n", what, text);
    fclose(file);
  }
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET)
    inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, text, sizeof text);
  if (address->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
  if (text[0] != '\0') note("connect", text);
  return real(fd, address, size);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
      dlsym(RTLD_NEXT, "getaddrinfo");
  note("getaddrinfo", name != NULL ? name : "");
  return real(name, service, hints, found);
}
